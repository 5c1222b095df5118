"""`ijbc:` and `ijbb:` on small trees in the real layout, every figure worked out template by template."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.faces.alignment import TEMPLATE_52
from recognition.runtime import Runtime
from recognition.targets.opening import open_target
from recognition.targets.target import Options
from recognition.targets.templates import AlignedPictures, TemplatesTarget
from recognition.verification.curves import operating_points
from tests.pictures import pil_pixels
from tests.ranks import run_ranks
from tests.templates.test_pooling import pooled_by_hand
from tests.templates.trees import ijb_tree


def embed(x_BCHW):
    return torch.nn.functional.avg_pool2d(x_BCHW, 16).flatten(1) + torch.tensor([0.05])


MODEL = Embedder(embed, (112, 112), {"file": "grid.onnx"})


@pytest.fixture(scope="module", params=["ijbc", "ijbb"])
def tree(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    return request.param, root, ijb_tree(root, request.param)


def outcome_of(prefix, root, runtime=None, model=MODEL):
    target = open_target(f"{prefix}:{root}", "set", Options())
    return target, target.score(model, runtime=runtime or Runtime(), batch_size=16)


def by_hand(root, rows):
    """Template embeddings from pictures that OpenCV aligned, picture by picture."""
    names, templates, media, scores, points, *_ = rows
    emb = []
    for name, at in zip(names, points):
        pixels = pil_pixels((root / "loose_crop" / name).read_bytes())
        matrix, _ = cv2.estimateAffinePartial2D(at, TEMPLATE_52, method=cv2.LMEDS)
        crop = cv2.warpAffine(pixels, matrix, (112, 112), borderValue=0)
        x = (torch.from_numpy(crop.astype(np.float32)).permute(2, 0, 1)[None] - 127.5) / 127.5
        emb.append((embed(x) + embed(x.flip(3)))[0].numpy())
    return pooled_by_hand(np.stack(emb), np.array(templates), np.array(media), np.array(scores))


def test_comparisons_are_those_of_templates_pooled_by_hand(tree):
    prefix, root, rows = tree
    _, outcome = outcome_of(prefix, root)
    facts, pooled = outcome.facts(), by_hand(root, rows)
    pairs = rows[-1]
    cosines = np.array([pooled[a] @ pooled[b] for a, b, _ in pairs])
    same = np.array([label == 1 for _, _, label in pairs])
    assert (facts["images"], facts["templates"]) == (len(rows[0]), 24)
    assert (facts["genuine"], facts["impostor"]) == (16, 112)
    # OpenCV rounds places to 1/32 pixel, so pictures differ by a grey level here and there.
    assert facts["auc"] == pytest.approx(roc_auc_score(same, cosines), abs=0.005)
    assert [point["far"] for point in facts["operating_points"]] == [0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6]
    first, second, third, *_ = facts["operating_points"]
    assert first["tar"] == pytest.approx(operating_points(-cosines[same], -cosines[~same], [0.1])[0].tar, abs=1 / 16)
    assert first["low"] < first["tar"] <= first["high"]
    assert (second["allowed_false_accepts"], second["flag"]) == (1, "few_impostors")
    assert (third["tar"], third["flag"]) == (None, "too_few_impostors")
    assert sum(facts["histogram"]["genuine"]) == 16
    assert facts["tar_at_nearest_far"]["0.1"] >= first["tar"]


def test_searches_are_those_of_each_probe_by_itself(tree):
    prefix, root, rows = tree
    _, outcome = outcome_of(prefix, root)
    facts, pooled, subject_of = outcome.facts()["identification"], by_hand(root, rows), rows[5]
    gallery, probes = list(range(100, 108)), list(range(300, 316))
    ranks, found, alarms = [], {0: [], 1: []}, {0: [], 1: []}
    for probe in probes:
        cosine = {t: pooled[probe] @ pooled[t] for t in gallery}
        own = next(t for t in gallery if subject_of[t] == subject_of[probe])
        ranks.append(1 + sum(cosine[t] >= cosine[own] for t in gallery if t != own))
        for half in (0, 1):
            inside = gallery[half::2]
            best = max(inside, key=cosine.get)
            if own in inside:
                found[half].append(cosine[best] if best == own else -9)
            else:
                alarms[half].append(cosine[best])
    assert facts["ranks"] == {str(k): sum(r <= k for r in ranks) / 16 for k in (1, 5, 10, 20)}
    assert (facts["gallery_subjects"], facts["mated_probes"], facts["nonmated_probes"]) == (8, 16, 16)
    point = facts["open_set"][0]
    assert point["fpir"] == 0.3
    shares = []
    for half in (0, 1):
        threshold = sorted(alarms[half], reverse=True)[2]  # 0.3 of 8 strangers: two may pass
        shares.append(np.mean([cosine > threshold for cosine in found[half]]))
    assert point["dir"] == pytest.approx(np.mean(shares), abs=1e-12)
    assert point["low"] <= point["dir"] <= point["high"]
    assert [entry["dir"] for entry in facts["open_set"][2:]] == [None] * 3


def facts_on_rank(runtime, prefix, root):
    facts = outcome_of(prefix, root, runtime)[1].facts()
    return {key: facts[key] for key in ("operating_points", "auc", "eer", "identification", "tar_at_nearest_far")}


def test_any_number_of_ranks_gives_the_same(tree):
    prefix, root, _ = tree
    expected = facts_on_rank(Runtime(), prefix, root)
    for world in (2, 3):
        assert run_ranks(facts_on_rank, world, prefix, root) == [expected] * world


def test_models_are_compared_and_1_to_n_may_be_missing(tmp_path):
    ijb_tree(tmp_path, search=False)
    target, outcome = outcome_of("ijbc", tmp_path)
    assert outcome.facts()["identification"] is None
    assert "1:1 only" in outcome.warnings[0]
    coarse = Embedder(lambda x: torch.nn.functional.avg_pool2d(x, 56).flatten(1), (112, 112), {"file": "c.onnx"})
    other = target.score(coarse, runtime=Runtime(), batch_size=16)
    entries = target.compare([outcome, other])
    assert [entry["metric"] for entry in entries] == ["tar@0.1", "tar@0.01"]
    for entry, point in zip(entries, range(2)):
        difference = outcome.points[point].tar - other.points[point].tar
        assert entry["difference"] == pytest.approx(difference, abs=1e-12)
    assert target.compare([outcome]) == []


def test_what_does_not_fit_is_named(tmp_path):
    ijb_tree(tmp_path)
    with open(tmp_path / "meta" / "ijbc_template_pair_label.txt", "a") as file:
        file.write("100 777 0\n")
    with pytest.raises(InputError, match="template 777 is compared, but ijbc_face_tid_mid.txt has no picture of it"):
        open_target(f"ijbc:{tmp_path}", "set", Options())
    (tmp_path / "other").mkdir()
    ijb_tree(tmp_path / "other" / "set")
    next((tmp_path / "other" / "set" / "loose_crop").iterdir()).unlink()
    with pytest.raises(InputError, match=r"loose_crop/\d+.jpg: cannot be read"):
        outcome_of("ijbc", tmp_path / "other" / "set")


def test_faces_are_aligned_to_the_size_that_each_model_takes(tree):
    """Of a model that takes any size the pictures have 112 pixels, whichever models stand beside it."""
    prefix, root, _ = tree
    small = Embedder(embed, (64, 64), {"file": "small.onnx"})
    shared = open_target(f"{prefix}:{root}", "set", Options())
    pictures = AlignedPictures(shared.pictures.folder, shared.pictures.faces, 64)
    alone = TemplatesTarget("set", pictures, shared.pairs, shared.search)
    shared.require_fit(small)
    found = shared.score(small, runtime=Runtime(), batch_size=16)
    expected = alone.score(dataclasses.replace(small, size=None), runtime=Runtime(), batch_size=16)
    assert found.xnorm == expected.xnorm
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert found.xnorm != shared.score(MODEL, runtime=Runtime(), batch_size=16).xnorm
    with pytest.raises(InputError, match="takes 96x112 pixels, and aligned faces are square"):
        shared.require_fit(Embedder(embed, (112, 96), {"file": "tall.onnx"}))
