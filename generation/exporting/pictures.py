"""Pictures that a generator is calibrated with and compared on: any set that a run takes, or a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from generation.pictures import middle_pixels
from generation.stargan.pictures import open_pictures
from recognition.data.sources.files import IMAGE_SUFFIXES, read_image_file
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.export.calibration import Calibration, apart

PICTURES = 64
MOST_CHECKED = 32


def open_calibration_pictures(
    data: str | Path, *, count: int, image_size: int, crop_size: int | None = None, most_checked: int = MOST_CHECKED
) -> Calibration:
    """`count` pictures to calibrate with and others to check by, evenly spread, each the middle square of one.

    InputError for a folder that holds no pictures, and for a damaged picture.
    """
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise InputError(f"--calibrate {folder} is no folder; give one of pictures, or what launch/stargan.py takes")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if paths:

        def read(index: int) -> np.ndarray:
            path = str(paths[index])
            return middle_pixels(read_image_file(path), lambda: path, image_size, crop_size)

        size, facts = len(paths), {"set": folder.name}
    else:
        pictures = open_pictures(folder, None, None, image_size, crop_size, skip_missing=True)
        read, size, facts = pictures.read, len(pictures), {"set": folder.name, "data_sha256": pictures.sha256}
    calibrated, checked = apart(size, count, most_checked)
    images, others = (np.stack(list(map_in_order(read, map(int, each)))) for each in (calibrated, checked))
    return Calibration(images, others, facts | {"pictures": len(calibrated)})
