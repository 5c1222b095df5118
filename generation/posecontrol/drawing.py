"""Pose sets of people who do not exist: drawn heads (recognition/heads), aligned, with exact poses and points."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from generation.posecontrol.pose_files import FRONT, VIDEO, PoseRow, write_pose_file
from recognition.errors import InputError
from recognition.faces.alignment import similarity
from recognition.grid import save_png
from recognition.heads import Picture, Scene, aligned, draw_person, draw_scene, rotation_of
from recognition.heads.camera import projected
from recognition.heads.numbers import Numbers
from recognition.records.layout import new_folder

FIXED, VARIED = "fixed", "varied"
MASKS = "masks"
_POSES = int.from_bytes(b"pose", "big")


@dataclass(frozen=True)
class DrawnSet:
    """How many people, with how many sources and targets each, and how they look.

    `scene`: in "fixed" all but the pose is the same in all pictures of a person (light, backdrop, expression), as in a
    photographer's studio; in "varied" each picture has a scene of its own. Angles in degrees.
    """

    people: int = 24
    fronts: int = 1
    frames: int = 16
    size: int = 64
    seed: int = 0
    widest_yaw_deg: float = 75.0
    widest_pitch_deg: float = 20.0
    front_within_deg: float = 8.0
    scene: str = FIXED
    domain: int = 0

    def __post_init__(self) -> None:
        if self.people < 2 or self.fronts < 1 or self.frames < 1:
            raise InputError("a set needs 2 people or more, and of each at least one front and one frame")
        if not 16 <= self.size <= 1024:
            raise InputError(f"size {self.size}: 16 to 1024 pixels")
        if not 0 <= self.widest_yaw_deg <= 90 or not 0 <= self.widest_pitch_deg <= 60:
            raise InputError("the widest yaw must be 0 to 90 degrees, and the widest pitch 0 to 60")
        if self.scene not in (FIXED, VARIED):
            raise InputError(f"scene {self.scene!r}: {FIXED} or {VARIED}")


def draw_set(out: Path, drawn: DrawnSet, *, workers: int | None = None, masks: bool = False) -> dict[str, int]:
    """Write a set into the new folder `out`, with the classes of the pixels if `masks`; how many pictures of each kind.

    InputError where `out` holds something already.
    """
    rows: dict[str, list[PoseRow]] = {FRONT: [], VIDEO: []}
    with new_folder(out) as aside:
        for kind, row, pixels_HWC, mask_HW in _all(drawn, workers):
            save_png(aside / row.path, pixels_HWC)
            if masks:
                save_png(aside / MASKS / row.path, mask_HW)
            rows[kind].append(row)
        for kind, of_kind in rows.items():
            write_pose_file(aside, kind, of_kind)
    return {kind: len(of_kind) for kind, of_kind in rows.items()}


def _all(drawn: DrawnSet, workers: int | None) -> Iterator[tuple[str, PoseRow, np.ndarray, np.ndarray]]:
    jobs = [(drawn, person) for person in range(drawn.people)]
    bar = tqdm(total=len(jobs), desc="drawing people", delay=2, leave=False, disable=None)
    with bar:
        if workers == 1:
            for job in jobs:
                yield from _person(job)
                bar.update()
            return
        # Drawing is Python for the most part, of which threads do one thing at a time.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for of_person in pool.map(_person, jobs, chunksize=4):
                yield from of_person
                bar.update()


def _person(job: tuple[DrawnSet, int]) -> list[tuple[str, PoseRow, np.ndarray, np.ndarray]]:
    drawn, number = job
    person, name = draw_person(drawn.seed, number, domain=drawn.domain), f"p{number:05d}"
    out = []
    for kind, index, scene in _scenes(drawn, number):
        picture = aligned(person, scene, drawn.size)
        pose_deg, points_53 = in_crop(picture, scene)
        frame = f"{index:04d}"
        row = PoseRow(
            name,
            f"{kind}/{name}/{frame}.png",
            (drawn.size, drawn.size),
            pose_deg,
            points_53,
            picture.points_52,
            picture.box_4,
            frame if kind == VIDEO else None,
        )
        out.append((kind, row, picture.pixels_HWC, picture.mask_HW))
    return out


def _scenes(drawn: DrawnSet, number: int) -> Iterator[tuple[str, int, Scene]]:
    """(kind, index, scene) of each picture of a person; the yaws of the targets are spread evenly, with chance."""
    widest, poses = drawn.widest_yaw_deg, []
    for kind, count in ((FRONT, drawn.fronts), (VIDEO, drawn.frames)):
        for index in range(count):
            draw = Numbers(drawn.seed, _POSES, drawn.domain, number, kind == VIDEO, index)
            reach = drawn.front_within_deg if kind == FRONT else drawn.widest_pitch_deg
            pitch, within = draw.near(0, reach), draw.near(0, drawn.front_within_deg)
            spread = -widest + 2 * widest * (index + draw.between(0, 1)) / drawn.frames
            poses.append((kind, index, (pitch, within if kind == FRONT else spread, 0.0)))
    studio = replace(
        draw_scene(drawn.seed, number, domain=drawn.domain),
        body_yaw_deg=0.0,
        distance_dm=14.0,
        eyes_closed=0.0,
        glasses_off=False,
        blur=0.0,
        noise_levels=0.0,
    )
    for place, (kind, index, pose_deg) in enumerate(poses):
        scene = studio
        if drawn.scene == VARIED:
            scene = draw_scene(drawn.seed, number * len(poses) + place, domain=drawn.domain)
        yield kind, index, replace(scene, pose_deg=pose_deg)


def in_crop(picture: Picture, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The pose (3,) and points in space (5, 3) as the crop shows them: alignment turns a picture, and so the roll."""
    matrix_23 = similarity(projected(picture.points_53, scene.distance_dm), picture.points_52)
    turn_deg = float(np.rad2deg(np.arctan2(matrix_23[1, 0], matrix_23[0, 0])))
    pitch, yaw, roll = picture.pose_deg
    turn_33 = rotation_of((0.0, 0.0, turn_deg))
    return np.array([pitch, yaw, (roll + turn_deg + 180) % 360 - 180]), picture.points_53 @ turn_33.T
