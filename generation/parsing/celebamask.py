"""The parts of CelebAMask-HQ, a PNG for each part of each face, merged to one picture of classes for each face."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recognition.data.decode import PILLOW_ERRORS, announced_size, damaged
from recognition.data.sources.files import read_image_file
from recognition.errors import InputError
from recognition.grid import save_png
from recognition.heads.classes import NAMES

PARTS, PICTURES = "CelebAMask-HQ-mask-anno", "CelebA-HQ-img"
MASK_SIZE, PICTURE_SIZE = 512, 1024
_PART = re.compile(r"(\d+)_(\w+)\.png")


@dataclass(frozen=True)
class Merged:
    """How many masks were written, how many were there before, and how many pixels have each class, by name."""

    written: int
    kept: int
    pixels: dict[str, int]


def parts_of(root: Path) -> dict[int, dict[str, Path]]:
    """Of each picture, by number, its parts by name: `CelebAMask-HQ-mask-anno/N/00000_skin.png` and so on.

    InputError for a part that is no class, for one that is there twice, and where there is none.
    """
    folder = root / PARTS if (root / PARTS).is_dir() else root
    found: dict[int, dict[str, Path]] = defaultdict(dict)
    for path in sorted(folder.glob("*/*.png")):
        match = _PART.fullmatch(path.name)
        if match is None:
            raise InputError(f"{path}: parts are called NUMBER_PART.png, e.g. 00000_skin.png; move it away")
        number, part = int(match[1]), match[2]
        if part not in NAMES[1:]:
            raise InputError(f"{path}: {part} is no part of a face known here; parts are {', '.join(NAMES[1:])}")
        if part in found[number]:
            raise InputError(f"{path}: {found[number][part]} is the same part of the same picture; keep one of them")
        found[number][part] = path
    if not found:
        raise InputError(f"{root} holds no {PARTS}/0/00000_skin.png or any other part; give CelebAMask-HQ's folder")
    return dict(sorted(found.items()))


def merged_parts(parts: dict[str, Path], *, size: int = MASK_SIZE) -> np.ndarray:
    """One mask of the parts of a picture, uint8 (size, size); where parts overlap, the later one in NAMES has it.

    InputError for a part of another size.
    """
    mask_HW = np.zeros((size, size), np.uint8)
    for number, name in enumerate(NAMES):
        if name in parts:
            mask_HW[_is_white(parts[name], size)] = number
    return mask_HW


def merge(
    root: Path, out: Path, *, size: int = MASK_SIZE, picture_size: int = PICTURE_SIZE,
    say: Callable[[int, int], None] = lambda done, total: None,
) -> Merged:  # fmt: skip
    """Write `out/NUMBER.png` for each picture of CelebAMask-HQ; those that are there already are kept.

    Each file is written whole or not at all, so that what was interrupted can be gone on with. InputError for a picture
    that is missing or of another size, and as `parts_of` and `merged_parts` have it.
    """
    found = parts_of(root)
    out.mkdir(parents=True, exist_ok=True)
    totals_C = np.zeros(len(NAMES), np.int64)
    kept = 0
    for done, (number, parts) in enumerate(found.items(), start=1):
        _check_picture(root / PICTURES, number, picture_size)
        path = out / f"{number}.png"
        if path.exists():
            kept += 1
        else:
            mask_HW = merged_parts(parts, size=size)
            save_png(path, mask_HW)
            totals_C += np.bincount(mask_HW.ravel(), minlength=len(NAMES))
        say(done, len(found))
    return Merged(len(found) - kept, kept, dict(zip(NAMES, totals_C.tolist())))


def _is_white(path: Path, size: int) -> np.ndarray:
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            if opened.size != (size, size):
                raise InputError(
                    f"{path}: {opened.width} x {opened.height} pixels, and {size} x {size} are expected; copy it again"
                )
            return np.asarray(opened.convert("L")) > 127
    except PILLOW_ERRORS as error:
        raise damaged(lambda: str(path), "PNG", str(error)) from error


def _check_picture(folder: Path, number: int, size: int) -> None:
    if not folder.is_dir():  # the parts alone can be merged, too
        return
    path = folder / f"{number}.jpg"
    if not path.is_file():
        raise InputError(f"{path} is missing, and there are parts of it; copy it, or move the parts away")
    found = announced_size(read_image_file(str(path)), lambda: str(path))
    if found != (size, size):
        raise InputError(f"{path}: {found[1]} x {found[0]} pixels, and {size} x {size} are expected; copy it again")
