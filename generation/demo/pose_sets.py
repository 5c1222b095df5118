"""What shows whether turned faces help a recogniser: people seen from the front alone, and pairs with profiles.

    python -m generation.demo.pose_sets OUT [--seed 0]

Writes OUT/frontal, a record set of people who are seen nearly from the front, and OUT/pairs with frontal_profile.bin
and frontal_frontal.bin: pairs of other people, whose second picture is a profile, or frontal too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import simplejpeg

from recognition.command import run_command
from recognition.heads import aligned, draw_person, draw_scene
from recognition.heads.numbers import Numbers
from recognition.records.layout import new_folder, write_set
from recognition.verification.pairs import write_pairs

SIDE, QUALITY = 32, 98
PEOPLE, PICTURES, PAIRS = 200, 8, 600
FRONTAL_DEG, PROFILE_DEG = (0.0, 15.0), (40.0, 75.0)
TRAINED, JUDGED = (int.from_bytes(word, "big") for word in (b"train", b"judge"))  # domains of people
FRONTAL, PAIRS_FOLDER = "frontal", "pairs"
BINS = {"frontal_profile": PROFILE_DEG, "frontal_frontal": FRONTAL_DEG}
_ANGLES = int.from_bytes(b"angles", "big")


@dataclass(frozen=True)
class Shot:
    """A picture to draw: who, in which scene, and between which yaws, left or right."""

    domain: int
    person: int
    scene: int
    yaw_deg: tuple[float, float]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--seed", type=int, default=0, help="of people and scenes (default: 0)")
    parser.add_argument("--people", type=int, default=PEOPLE, help="to train on (default: %(default)s)")
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, help="of each kind, a multiple of 20 (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")
    given = parser.parse_args()
    write_sets(given.out, seed=given.seed, people=given.people, pairs=given.pairs, workers=given.workers)
    print(f"people who are seen from the front, and pairs with profiles: {given.out}")


def write_sets(out: Path, *, seed: int, people: int, pairs: int, workers: int | None = None) -> None:
    """Draw and write the set and the pairs; InputError where `out` holds something already."""
    with new_folder(out) as aside, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        draw = partial(pool.map, partial(drawn, seed), chunksize=16)
        shots = [Shot(TRAINED, who, who * PICTURES + n, FRONTAL_DEG) for who in range(people) for n in range(PICTURES)]
        images = zip((shot.person for shot in shots), draw(shots))
        write_set(aside / FRONTAL, images, num_classes=people, size=(SIDE, SIDE), names=None)
        for name, second_deg in BINS.items():
            shots, issame = list(_pairs(pairs, second_deg)), [pair % 2 == 0 for pair in range(pairs)]
            (aside / PAIRS_FOLDER).mkdir(exist_ok=True)
            write_pairs(aside / PAIRS_FOLDER / f"{name}.bin", list(draw(shots)), issame)


def drawn(seed: int, shot: Shot) -> bytes:
    """A JPEG, aligned."""
    draw = Numbers(seed, _ANGLES, shot.domain, shot.scene)
    yaw = draw.between(*shot.yaw_deg) * (1 if draw.chance(0.5) else -1)
    scene = draw_scene(seed, shot.scene, domain=shot.domain)
    pitch, _, roll = scene.pose_deg
    scene = replace(scene, pose_deg=(pitch / 2, yaw, roll), body_yaw_deg=yaw * 0.4)
    picture = aligned(draw_person(seed, shot.person, domain=shot.domain), scene, SIDE)
    return simplejpeg.encode_jpeg(picture.pixels_HWC, QUALITY, "RGB", "444")


def _pairs(count: int, second_deg: tuple[float, float]) -> Iterator[Shot]:
    """Pairs one after the other, of one person and of two by turns; people and scenes of each pair are its own."""
    for pair in range(count):
        first, second = 2 * pair, 2 * pair + (pair % 2)
        yield Shot(JUDGED, first, 2 * pair, FRONTAL_DEG)
        yield Shot(JUDGED, second, 2 * pair + 1, second_deg)


if __name__ == "__main__":
    run_command(main)
