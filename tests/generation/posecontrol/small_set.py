"""A small set of drawn people in the four files, written here by plain json and numpy, and short runs over it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from generation.posecontrol.arguments import config_of
from generation.posecontrol.loop import train
from recognition.heads import aligned, draw_person, draw_scene
from recognition.runtime import Runtime

PEOPLE, FRAMES, SIDE = 6, 4, 32
YAWS = (-50.0, -20.0, 25.0, 60.0)


def write_set(folder: Path, people: int = PEOPLE) -> Path:
    """`people` drawn people, one frontal picture of each and four others."""
    rows = {"front": [], "video": []}
    for number in range(people):
        person, scene = draw_person(5, number), draw_scene(5, number)
        for frame, yaw in enumerate((0.0, *YAWS)):
            picture = aligned(person, replace(scene, pose_deg=(4.0 * frame, yaw, 0.0)), SIDE)
            kind = "front" if frame == 0 else "video"
            path = folder / kind / f"p{number}_{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.pixels_HWC).save(path)
            rows[kind].append((f"p{number}", path.relative_to(folder), picture))
    for kind, entries in rows.items():
        content = {
            "format": "pose-pairs/1",
            "num_samples": len(entries),
            "feature_dim": 512,
            "pose_order": ["pitch", "yaw", "roll"],
            "pose_unit": "deg",
            "pose_convention": "xyz-extrinsic, InsightFace matrix2angle",
            "metadata": [
                {"person_name": who, "image_path": str(path), "image_size": [SIDE, SIDE]} for who, path, _ in entries
            ],
            "poses": [picture.pose_deg.tolist() for _, _, picture in entries],
            "boxes": [picture.box_4.tolist() for _, _, picture in entries],
            "landmarks_2d": [picture.points_52.tolist() for _, _, picture in entries],
        }
        (folder / f"{kind}_metadata.json").write_text(json.dumps(content))
        points = np.stack([picture.points_53 for _, _, picture in entries]).astype(np.float32)
        np.save(folder / f"{kind}_keypoints.npy", points)
    return folder


def words(data: Path, out: Path, *more: object) -> list[str]:
    """A command line for a short run on one thread."""
    given = {
        "data_dir": data,
        "save_dir": out / "checkpoints",
        "log_dir": out / "logs",
        "image_size": SIDE,
        "feature_dim": 16,
        "generator_width": 4,
        "encoder": "cnn",
        "batch_size": 4,
        "num_workers": 1,
        "epochs": 2,
        "lr": 1e-3,
        "device": "cpu",
        "threads": 1,
    }
    return [*(str(word) for key, value in given.items() for word in (f"--{key}", value)), *(str(word) for word in more)]


def run(data: Path, out: Path, *more: object, runtime: Runtime | None = None) -> Path:
    """The folder of checkpoints of a short run; what stands last on a command line counts."""
    return train(config_of(words(data, out, *more), description=""), runtime or Runtime())
