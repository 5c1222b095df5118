"""Faces of a training set turned to other poses: more pictures of the same people, for a recogniser to learn from."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from PIL import Image
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
Encode = Callable[[np.ndarray], bytes]  # uint8 (S, S, 3) -> an image file


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


def jpeg_of(pixels_HWC: np.ndarray, *, quality: int = 95) -> bytes:
    """A JPEG with as much colour as light in it."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels_HWC), quality, "RGB", "444")


def png_of(pixels_HWC: np.ndarray) -> bytes:
    """A PNG, which keeps every pixel."""
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "PNG")
    return file.getvalue()


def write_turned(
    model: ImageControlNet,
    source: Source,
    out: Path,
    turns: Turns,
    *,
    names: Sequence[str] | None = None,
    keep_originals: bool = True,
    encode: Encode = jpeg_of,
    batch_size: int = BATCH,
    device: torch.device | None = None,
) -> int:
    """Write a record set in which each picture of `source` is in each pose as well, under its label; how many pictures.

    Labels and names stay as they are, so that the set can take the place of the one it was made of, or join it
    (`rec=A,B`). `batch_size`: pictures that are made at once, but never fewer than the poses of one. InputError as the
    source has it, and where `out` holds something already: then, and when it is stopped, nothing is written.
    """
    if source.num_classes is None:
        raise InputError(
            "a set that does not say how many people it has cannot be turned; write C,112,112 into `property`"
        )
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: must be at least 1")
    size = (model.image_size, model.image_size)
    turn = partial(_turned, model, turns=turns, batch_size=batch_size, device=device or torch.device("cpu"))
    with new_folder(out) as aside:
        images = (
            (label, encode(pixels_HWC))
            for label, original_HWC, turned_THWC in turn(source, _labels(source))
            for pixels_HWC in (*([original_HWC] if keep_originals else []), *turned_THWC)
        )
        counts_C = write_set(aside, images, num_classes=source.num_classes, size=size, names=names)
    return int(counts_C.sum())


def _labels(source: Source) -> np.ndarray:
    """int64 (N,), from the pictures themselves where they cannot be had otherwise."""
    labels_N = source.labels()
    if labels_N is None:
        places = tqdm(range(len(source)), "labels", unit="face", leave=False, disable=None)
        labels_N = np.array([source.read(place).label for place in places], np.int64)
    return labels_N


def _turned(
    model: ImageControlNet,
    source: Source,
    labels_N: np.ndarray,
    *,
    turns: Turns,
    batch_size: int,
    device: torch.device,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(label, picture (S, S, 3), that in each pose (T, S, S, 3)), uint8, by ascending label."""
    order_N = np.argsort(labels_N, kind="stable")
    poses_T3 = torch.from_numpy(turns.poses()).float().to(device)
    each = max(1, batch_size // len(poses_T3))
    with tqdm(total=len(order_N), desc="turning faces", unit="face", leave=False, disable=None) as bar:
        for at in range(0, len(order_N), each):
            rows = order_N[at : at + each]
            pixels = [_pixels(source, int(row), model.image_size) for row in rows]
            img01_BCHW = batch_of(pixels).to(device).repeat_interleave(len(poses_T3), 0)
            made_BHWC = pixels_of(turned(model, img01_BCHW, poses_T3.repeat(len(rows), 1))).cpu().numpy()
            for row, original_HWC, turned_THWC in zip(rows, pixels, np.split(made_BHWC, len(rows))):
                yield int(labels_N[row]), original_HWC, turned_THWC
            bar.update(len(rows))


def _pixels(source: Source, index: int, side: int) -> np.ndarray:
    payload = source.read(index).payload
    if not isinstance(payload, np.ndarray):
        return np.asarray(fitted(upright_image(payload, lambda: source.describe(index)), side, "crop"))
    if payload.shape[:2] != (side, side):
        raise InputError(f"{source.describe(index)} has {payload.shape[1]}x{payload.shape[0]} pixels, not {side}")
    return payload
