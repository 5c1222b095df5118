"""Photos or videos of people -> a pose set: in each the face, its five points, and from these the pose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from generation.alignment import box_matrices, square_boxes
from generation.frames import PICTURES, VIDEOS, frames_of
from generation.pose import STANDARD_53, geodesic_deg, pose_from_points2, rolled, rotation_matrices
from generation.posecontrol.pose_files import FRONT, VIDEO, PoseRow, write_pose_file
from recognition.atomic import write_text
from recognition.errors import InputError
from recognition.faces.alignment import cut, similarity, template_points
from recognition.faces.photos import Aligned, Aligner, Rejected
from recognition.grid import save_png
from recognition.records.layout import new_folder

POINTS, BOX, NONE = "points", "box", "none"
CROPS = (POINTS, BOX, NONE)
BAD_POINTS, NO_FRONT, UNREADABLE = "bad points", "no frontal picture", "unreadable"


@dataclass(frozen=True)
class Building:
    """How pictures are cut: `crop` "points" aligns them as recognisers want them, "box" is a square round the face,
    "none" the whole picture; `size` in pixels. `front_within_deg`: how far from frontal a source may be; a person
    without any gives the most frontal picture within `front_at_most_deg`. `every`: each so manieth frame of a video.
    """

    aligner: Aligner
    crop: str = POINTS
    size: int = 112
    front_within_deg: float = 15.0
    front_at_most_deg: float = 35.0
    every: int = 5


@dataclass
class Built:
    """What became of the pictures: rows of each kind, and who was left out for which reason."""

    rows: dict[str, list[PoseRow]] = field(default_factory=lambda: {FRONT: [], VIDEO: []})
    failed: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {FRONT: [], VIDEO: []})


def build_set(source: Path, out: Path, building: Building) -> Built:
    """Write the set of a folder of folders of pictures or videos, one for each person, into the new folder `out`.

    A video that lies beside the folders is of the person it is named after. Each picture may be source and target.
    What is left out is listed by reason in `front_failed_images.json` and `video_failed_images.json`. InputError where
    nobody has a source and a target.
    """
    people = _people(source)
    built = Built()
    with new_folder(out) as aside:
        for person, files in tqdm(people.items(), "people", leave=False, delay=2, disable=None):
            _add_person(built, aside, person, files, source, building)
        if not built.rows[FRONT]:
            reasons = {entry["reason"] for entry in built.failed[VIDEO] + built.failed[FRONT]}
            raise InputError(f"{source}: no picture could be used ({', '.join(sorted(reasons)) or 'no pictures'})")
        for kind in (FRONT, VIDEO):
            write_pose_file(aside, kind, built.rows[kind])
            if built.failed[kind]:
                text = json.dumps(built.failed[kind], indent=1, ensure_ascii=False)
                write_text(aside / f"{kind}_failed_images.json", text + "\n")
    return built


def _people(source: Path) -> dict[str, list[Path]]:
    if not source.is_dir():
        raise InputError(f"{source} is no folder; give one with a folder, or a video, for each person")
    people: dict[str, list[Path]] = {}
    for entry in sorted(source.iterdir()):
        if entry.is_dir():
            files = sorted(path for path in entry.rglob("*") if path.suffix.lower() in PICTURES | VIDEOS)
            if files:
                people.setdefault(entry.name, []).extend(files)
        elif entry.suffix.lower() in VIDEOS:
            people.setdefault(entry.stem, []).append(entry)
    if not people:
        raise InputError(f"{source} holds neither folders with pictures nor videos; make a folder for each person")
    return people


def _add_person(
    built: Built, folder: Path, person: str, files: Sequence[Path], source: Path, building: Building
) -> None:
    rows: list[PoseRow] = []
    for path in files:
        where = str(path.relative_to(source))
        try:
            for frame, pixels_HWC in frames_of(path, building.every):
                made = _row(pixels_HWC, person, f"{len(rows):05d}", frame, building)
                if isinstance(made, str):
                    at = where if frame is None else f"{where} frame {frame}"
                    built.failed[VIDEO].append({"person_name": person, "image": at, "reason": made})
                    continue
                row, crop_SSC = made
                save_png(folder / row.path, crop_SSC)
                rows.append(row)
        except InputError as error:
            reason = f"{UNREADABLE}: {error}"
            built.failed[VIDEO].append({"person_name": person, "image": where, "reason": reason})
    if not rows:
        return
    frontal_1 = torch.eye(3, dtype=torch.float64)
    poses_N3 = torch.from_numpy(np.stack([row.pose_deg for row in rows]))
    # In the plane a head is turned by alignment alone: what counts is where it looks.
    off_N = geodesic_deg(rotation_matrices(poses_N3 * torch.tensor([1.0, 1.0, 0.0])), frontal_1)
    fronts = torch.nonzero(off_N <= building.front_within_deg)[:, 0].tolist()
    if not fronts and off_N.min() <= building.front_at_most_deg:
        fronts = [int(off_N.argmin())]
    if not fronts:
        reason = f"{NO_FRONT}: {float(off_N.min()):.0f} degrees at the least"
        built.failed[FRONT].append({"person_name": person, "image": person, "reason": reason})
        return
    built.rows[FRONT] += [rows[place] for place in fronts]
    built.rows[VIDEO] += rows


def _row(
    pixels_HWC: np.ndarray, person: str, name: str, frame: str | None, building: Building
) -> tuple[PoseRow, np.ndarray] | str:
    """A picture's row and crop, or why it has none."""
    found = building.aligner.face_of(pixels_HWC)
    if isinstance(found, Rejected):
        return f"{found.reason}: {found.detail}"
    points_52 = found.face.points_52.astype(np.float64)
    pose_3 = pose_from_points2(torch.from_numpy(points_52)[None])[0]
    if not torch.isfinite(pose_3).all():
        return f"{BAD_POINTS}: no pose fits them"
    matrix_23 = _matrix(found, pixels_HWC, building)
    turn_deg = float(np.rad2deg(np.arctan2(matrix_23[1, 0], matrix_23[0, 0])))
    pose_3 = rolled(pose_3[None], torch.tensor([turn_deg], dtype=torch.float64))[0]
    side = building.size if building.crop != NONE else 0
    crop_SSC = cut(pixels_HWC, matrix_23, side) if side else pixels_HWC
    points_53 = (STANDARD_53 @ rotation_matrices(pose_3[None])[0].T).numpy()
    box_4 = found.face.box_4.reshape(2, 2).astype(np.float64)
    row = PoseRow(
        person,
        f"pictures/{person}/{name}.png",
        crop_SSC.shape[:2],
        pose_3.numpy(),
        points_53,
        _moved(points_52, matrix_23),
        _moved(box_4, matrix_23).ravel(),
        frame,
    )
    return row, crop_SSC


def _matrix(found: Aligned, pixels_HWC: np.ndarray, building: Building) -> np.ndarray:
    if building.crop == POINTS:
        return similarity(found.face.points_52, template_points(building.size))
    if building.crop == BOX:
        square_14 = square_boxes(torch.from_numpy(found.face.box_4[None].astype(np.float64)), margin=1.2)
        return box_matrices(square_14, building.size)[0].numpy()
    return np.array([[1.0, 0, 0], [0, 1.0, 0]])


def _moved(points_N2: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    return points_N2 @ matrix_23[:, :2].T + matrix_23[:, 2]
