"""Faces of a training set turned to other poses: more pictures of the same people, for a recogniser to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from tqdm import tqdm

from generation.pictures import batch_of, pixels_of
from generation.posecontrol.control_net import ImageControlNet
from generation.posecontrol.evaluation import turned
from recognition.data.decode import upright_image
from recognition.data.sources import Source
from recognition.errors import InputError
from recognition.records.encode import fitted
from recognition.records.layout import new_folder, write_set

BATCH = 32


@dataclass(frozen=True)
class Turns:
    """Yaws and pitches in degrees; every picture is turned to each pair of them, roll 0."""

    yaws_deg: tuple[float, ...] = (-60.0, -40.0, 40.0, 60.0)
    pitches_deg: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not self.yaws_deg or not self.pitches_deg:
            raise InputError("give at least one yaw and one pitch to turn faces to")
        if any(not abs(angle) <= 90 for angle in (*self.yaws_deg, *self.pitches_deg)):
            raise InputError("faces are turned by -90 to 90 degrees")

    def poses(self) -> np.ndarray:
        """(T, 3) pitch, yaw, roll."""
        return np.array([(pitch, yaw, 0.0) for yaw in self.yaws_deg for pitch in self.pitches_deg])


def write_turned(
    model: ImageControlNet,
    source: Source,
    out: Path,
    turns: Turns,
    *,
    names: Sequence[str] | None = None,
    keep_originals: bool = True,
    quality: int = 95,
) -> int:
    """Write a record set in which each picture of `source` is in each pose as well, under its label; how many pictures.

    Labels and names stay as they are, so that the set can take the place of the one it was made of, or join it
    (`rec=A,B`). InputError as the source has it, and where `out` holds something already.
    """
    labels_N = source.labels()
    if labels_N is None or source.num_classes is None:
        raise InputError("a set whose labels are not known beforehand cannot be turned; pack it first")
    size = (model.image_size, model.image_size)
    with new_folder(out) as aside:
        images = _turned(model, source, labels_N, turns, keep_originals, quality)
        counts_C = write_set(aside, images, num_classes=source.num_classes, size=size, names=names)
    return int(counts_C.sum())


def _turned(
    model: ImageControlNet, source: Source, labels_N: np.ndarray, turns: Turns, keep_originals: bool, quality: int
) -> Iterator[tuple[int, bytes]]:
    """(label, JPEG) by ascending label."""
    order_N = np.argsort(labels_N, kind="stable")
    poses_T3 = torch.from_numpy(turns.poses()).float()
    each = max(1, BATCH // len(poses_T3))
    with tqdm(total=len(order_N), desc="turning faces", unit="face", leave=False, disable=None) as bar:
        for at in range(0, len(order_N), each):
            rows = order_N[at : at + each]
            pixels = [_pixels(source, int(row), model.image_size) for row in rows]
            img01_BCHW = batch_of(pixels).repeat_interleave(len(poses_T3), 0)
            made = pixels_of(turned(model, img01_BCHW, poses_T3.repeat(len(rows), 1))).numpy()
            for place, row in enumerate(rows):
                of_row = list(made[place * len(poses_T3) : (place + 1) * len(poses_T3)])
                for picture in ([pixels[place]] if keep_originals else []) + of_row:
                    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality, "RGB", "444")
                    yield int(labels_N[row]), jpeg
            bar.update(len(rows))


def _pixels(source: Source, index: int, side: int) -> np.ndarray:
    payload = source.read(index).payload
    if not isinstance(payload, np.ndarray):
        return np.asarray(fitted(upright_image(payload, lambda: source.describe(index)), side, "crop"))
    if payload.shape[:2] != (side, side):
        raise InputError(f"{source.describe(index)} has {payload.shape[1]}x{payload.shape[0]} pixels, not {side}")
    return payload
