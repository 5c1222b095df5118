"""Faces of people who do not exist, in CelebA's layout: pictures, attributes, and the classes of the pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from generation.stargan.pictures import TABLES
from recognition.atomic import write_text
from recognition.errors import InputError
from recognition.grid import save_png
from recognition.heads import aligned, attributes, draw_person, draw_scene, render
from recognition.records.layout import new_folder

PICTURES, MASKS, FACES = "images", "masks", "faces.json"
HEAD, ALIGNED = "head", "aligned"  # with shoulders; or the face on ArcFace's template, as recognisers see it


@dataclass(frozen=True)
class DrawnFaces:
    """How many pictures, each of somebody else, and how they look: sides in pixels, the widest yaw in degrees."""

    pictures: int = 1000
    size: int = 64
    seed: int = 0
    widest_yaw_deg: float = 30.0
    domain: int = 0
    framing: str = HEAD

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise InputError(f"--pictures {self.pictures}: must be at least 1")
        if not 16 <= self.size <= 1024:
            raise InputError(f"--size {self.size}: 16 to 1024 pixels")
        if not 0 <= self.widest_yaw_deg <= 90:
            raise InputError(f"--widest-yaw {self.widest_yaw_deg:g}: 0 to 90 degrees")
        if self.framing not in (HEAD, ALIGNED):
            raise InputError(f"--framing {self.framing}: {HEAD} or {ALIGNED}")


@dataclass(frozen=True, eq=False)
class DrawnFace:
    """One of them: uint8 (S, S, 3) RGB, the class of each pixel, uint8 (S, S), the attributes by name, and where it is.

    `box_4` and `points_52` are in pixels of the picture, as of recognition/heads/picture.py.
    """

    pixels_HWC: np.ndarray
    mask_HW: np.ndarray
    attributes: dict[str, bool]
    box_4: np.ndarray
    points_52: np.ndarray


def draw_face(drawn: DrawnFaces, number: int) -> DrawnFace:
    """Face `number` of those: always the same."""
    person = draw_person(drawn.seed, number, domain=drawn.domain)
    scene = draw_scene(drawn.seed, number, domain=drawn.domain, widest_yaw_deg=drawn.widest_yaw_deg)
    pitch, yaw, roll = scene.pose_deg
    scene = replace(scene, pose_deg=(pitch / 2, yaw, roll / 2))
    picture = (render if drawn.framing == HEAD else aligned)(person, scene, drawn.size)
    has = attributes(person, scene)
    return DrawnFace(picture.pixels_HWC, picture.mask_HW, has, picture.box_4, picture.points_52)


def draw_faces(out: Path, drawn: DrawnFaces, *, workers: int | None = None, masks: bool = False) -> dict[str, float]:
    """Write them, with the places of the faces (faces.json), into the new folder `out`; the share of each attribute.

    InputError where `out` holds something already.
    """
    rows: list[tuple[str, dict[str, bool]]] = []
    places: dict[str, dict[str, list]] = {}
    with new_folder(out) as aside:
        (aside / PICTURES).mkdir()
        if masks:
            (aside / MASKS).mkdir()
        for number, face in enumerate(
            tqdm(_all(drawn, workers), total=drawn.pictures, delay=2, leave=False, disable=None)
        ):
            name = f"{number + 1:06}.png"
            save_png(aside / PICTURES / name, face.pixels_HWC)
            if masks:
                save_png(aside / MASKS / name, face.mask_HW)
            rows.append((name, face.attributes))
            places[name] = {"box": face.box_4.round(2).tolist(), "points": face.points_52.round(2).tolist()}
        write_text(aside / FACES, json.dumps(places) + "\n")
        names = list(rows[0][1])
        lines = [f"{name} {' '.join('1' if has[each] else '-1' for each in names)}\n" for name, has in rows]
        write_text(aside / TABLES[1], f"{len(rows)}\n{' '.join(names)}\n{''.join(lines)}")
    return {name: sum(has[name] for _, has in rows) / len(rows) for name in names}


def _all(drawn: DrawnFaces, workers: int | None) -> Iterator[DrawnFace]:
    if workers == 1:
        yield from (draw_face(drawn, number) for number in range(drawn.pictures))
        return
    # Drawing is Python for the most part, of which threads do one thing at a time.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw_face, [drawn] * drawn.pictures, range(drawn.pictures), chunksize=16)
