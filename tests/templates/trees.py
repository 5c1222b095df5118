"""Small trees in the layout of IJB-B and IJB-C."""

import numpy as np

from recognition.faces.alignment import TEMPLATE_52
from tests.pictures import encoded


def ijb_tree(root, prefix="ijbc", *, search=True, people=8, seed=0):
    """People with templates of pictures and videos; returns (names, templates, media, scores, subject by template)."""
    rng = np.random.default_rng(seed)
    (root / "meta").mkdir(parents=True)
    (root / "loose_crop").mkdir()
    rows, subject_of, number = [], {}, 0
    for person in range(people):
        colour = rng.integers(60, 196, 3)
        for template in (100 + person, 300 + 2 * person, 301 + 2 * person):
            subject_of[template] = 10 * person
            for media in range(int(rng.integers(1, 3))):
                for _ in range(int(rng.integers(1, 4))):
                    number += 1
                    noise = rng.integers(-40, 40, (140, 130, 3))
                    pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
                    (root / "loose_crop" / f"{number}.jpg").write_bytes(encoded(pixels, quality=95))
                    points = TEMPLATE_52 * rng.uniform(0.9, 1.1) + rng.uniform(2, 9, 2)
                    rows.append((f"{number}.jpg", template, 1000 * template + media, rng.uniform(0.3, 1), points))
    order = rng.permutation(len(rows))  # templates and media do not come in order
    rows = [rows[k] for k in order]
    meta = root / "meta"
    (meta / f"{prefix}_name_5pts_score.txt").write_text(
        "".join(f"{n} {' '.join(f'{v:.4f}' for v in p.ravel())} {s:.6f}\n" for n, _, _, s, p in rows)
    )
    (meta / f"{prefix}_face_tid_mid.txt").write_text("".join(f"{n} {t} {m}\n" for n, t, m, _, _ in rows))
    gallery, probes = [100 + p for p in range(people)], [300 + k for k in range(2 * people)]
    pairs = [(g, p, int(subject_of[g] == subject_of[p])) for g in gallery for p in probes]
    (meta / f"{prefix}_template_pair_label.txt").write_text("".join(f"{a} {b} {c}\n" for a, b, c in pairs))
    if search:
        names = ("G1", "G2") if prefix == "ijbc" else ("S1", "S2")
        head = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n"
        for half, name in enumerate(names):
            chosen = gallery[half::2]
            lines = "".join(f"{t},{subject_of[t]},img/{t}.png\n" * 2 for t in chosen)  # a line a picture: repeated
            (meta / f"{prefix}_1N_gallery_{name}.csv").write_text(head + lines)
        lines = "".join(f"{t},{subject_of[t]},img/{t}.png\n" for t in probes)
        (meta / f"{prefix}_1N_probe_mixed.csv").write_text(head + lines)
    names, templates, media, scores, points = map(list, zip(*rows))
    return names, templates, media, scores, points, subject_of, pairs
