"""The pictures by which a network with few bits is calibrated, and others of the same set by which it is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recognition.data.decode import decode_into
from recognition.data.sources import Source, SyntheticSource, open_source
from recognition.data.sources.shards import rec_entries
from recognition.data.threads import map_in_order
from recognition.provenance import data_sha256
from recognition.spread import spread

PICTURES = 256
MOST_CHECKED = 64
ANY_CLASSES = 2**31  # the labels are not used, so a set that does not say how many there are will do


@dataclass(frozen=True)
class Calibration:
    """`images_NHWC` to calibrate with, `checked_NHWC` to judge the result by, uint8 RGB; `facts` name the set."""

    images_NHWC: np.ndarray
    checked_NHWC: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)


def open_calibration(rec: str, *, count: int = PICTURES, size: int = 112) -> Calibration:
    """`count` pictures of `size` x `size`, evenly spread over the set that `rec` names (recognition/data/sources).

    Those to check by lie between them, where the set has that many. Always the same pictures of the same set.
    InputError for a set that cannot be opened, a damaged picture, or one of another size.
    """
    source = open_source(rec, num_classes=ANY_CLASSES, image_size=size)
    calibrated, checked = apart(len(source), count)
    facts = {
        "set": ",".join(Path(entry).name for entry in rec_entries(rec)),  # not its path: the file goes to others
        "data_sha256": data_sha256(source),
        "pictures": len(calibrated),
    }
    return Calibration(_pictures(source, calibrated, size), _pictures(source, checked, size), facts)


def apart(size: int, count: int, most_checked: int = MOST_CHECKED) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a set of `size`: `count` to calibrate with, and as many as `most_checked` between them, else the same.

    Evenly spread, and always the same ones.
    """
    chosen = spread(size, 2 * count)
    calibrated, between = chosen[::2][:count], chosen[1::2]
    checked = between if len(between) else calibrated
    return calibrated, checked[spread(len(checked), most_checked)]


def drawn_faces(count: int = 32, size: int = 112) -> np.ndarray:
    """Faces that the synthetic set draws, uint8 (N, size, size, 3): what is there where the user gives no pictures."""
    source = SyntheticSource(num_classes=count, num_image=count, image_size=size)
    return _pictures(source, np.arange(count), size)


def _pictures(source: Source, indices: np.ndarray, size: int) -> np.ndarray:
    def read(index: int) -> np.ndarray:
        pixels_HWC = np.empty((size, size, 3), np.uint8)
        decode_into(pixels_HWC, source.read(index).payload, lambda: source.describe(index))
        return pixels_HWC

    return np.stack(list(map_in_order(read, (int(index) for index in indices))))
