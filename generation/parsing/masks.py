"""Pictures of faces and the class of each pixel, by file name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from generation.parsing.celebamask import PICTURES as CELEBA_PICTURES
from generation.pictures import PictureCache
from recognition.data.decode import Where, open_image, upright_image
from recognition.data.sources.files import IMAGE_SUFFIXES, read_image_file
from recognition.errors import InputError
from recognition.heads.classes import NAMES

PICTURES, MASKS = "images", "masks"
TEST_SHARE, MOST_TEST = 10, 2000  # of a set: one in ten, so many at most
TRAIN, TEST = "train", "test"


@dataclass(frozen=True, eq=False)
class MaskedPictures:
    """A set of pictures with masks; all are `image_size` pixels square when read, whatever size the files have.

    A rectangle is made square, as the published parsers do; masks keep their values.
    """

    pictures: tuple[Path, ...]
    masks: tuple[Path, ...]
    image_size: int
    cache: PictureCache[Path]

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture `index`, uint8 (S, S, 3) RGB, and its mask, uint8 (S, S).

        InputError, with the file, for a damaged one, a class that is none, and a mask of another shape.
        """
        both_HWC = self.cache.read(self.pictures[index])
        return both_HWC[..., :3], both_HWC[..., 3]

    def describe(self, index: int) -> str:
        """Path of the picture."""
        return str(self.pictures[index])

    def split(self, part: str, test_size: int | None = None) -> MaskedPictures:
        """The last `test_size` pictures by name (default: a tenth, 2000 at most), or the others.

        InputError where nothing would be left.
        """
        count = min(MOST_TEST, len(self) // TEST_SHARE) if test_size is None else test_size
        if not 0 <= count < len(self):
            raise InputError(f"--test_size {count}: there are {len(self)} pictures, and some must be left to train on")
        cut = len(self) - count
        which = slice(cut, None) if part == TEST else slice(0, cut)
        return MaskedPictures(self.pictures[which], self.masks[which], self.image_size, self.cache)

    def sha256(self) -> str:
        """SHA-256 of the names of the files, in their order."""
        return hashlib.sha256("\n".join(path.name for path in self.pictures).encode()).hexdigest()


def open_masks(folder: Path, image_size: int, *, masks: Path | None = None, cache_mb: int = 1024) -> MaskedPictures:
    """The set in a folder: images/ and masks/ with files of the same stems, or CelebA-HQ-img/ of CelebAMask-HQ.

    `masks`: where the masks lie, if not in `folder`/masks. InputError for a picture that has none.
    """
    pictures = next((folder / name for name in (PICTURES, CELEBA_PICTURES) if (folder / name).is_dir()), None)
    if pictures is None:
        raise InputError(f"{folder} holds neither {PICTURES}/ nor {CELEBA_PICTURES}/; launch/parsing.py draw makes one")
    masks = folder / MASKS if masks is None else masks
    if not masks.is_dir():
        raise InputError(f"{masks} does not exist; launch/parsing.py merge makes masks of CelebAMask-HQ's parts")
    found = [path for path in pictures.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    found.sort(key=lambda path: (len(path.stem), path.stem))  # 9 before 10
    if not found:
        raise InputError(f"{pictures} holds no picture")
    named = [masks / f"{path.stem}.png" for path in found]
    there = {path.name for path in masks.glob("*.png")}
    if missing := [path for path in named if path.name not in there]:
        raise InputError(f"{len(missing)} of {len(named)} pictures have no mask, first {missing[0]}; add them")
    mask_of = dict(zip(found, named))
    cache = PictureCache(lambda path: _both(path, mask_of[path], image_size), cache_mb * 2**20)
    return MaskedPictures(tuple(found), tuple(named), image_size, cache)


def read_mask(payload: bytes | memoryview, where: Where) -> Image.Image:
    """A picture of classes; InputError, beginning with `where()`, for another kind and for a class that is none."""
    with open_image(payload, where) as opened:
        if opened.mode not in ("L", "P"):
            raise InputError(f"{where()}: a mask has one channel of bytes, and this is {opened.mode}; convert it")
        # The numbers themselves, whatever colours a palette gives them.
        image = Image.fromarray(np.asarray(opened))
    most = int(np.asarray(image).max())
    if most >= len(NAMES):
        raise InputError(f"{where()}: has class {most}, and classes are 0 to {len(NAMES) - 1}; merge it anew")
    return image


def _both(picture: Path, mask: Path, side: int) -> np.ndarray:
    """Picture and mask as four channels, uint8 (side, side, 4)."""
    image = upright_image(read_image_file(str(picture)), lambda: str(picture))
    classes = read_mask(read_image_file(str(mask)), lambda: str(mask))
    if image.width * classes.height != image.height * classes.width:
        raise InputError(
            f"{mask}: {classes.width} x {classes.height} pixels, which is another shape than that of {picture}, "
            f"{image.width} x {image.height}; make it of this picture"
        )
    pixels_HWC = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
    mask_HW = np.asarray(classes.resize((side, side), Image.Resampling.NEAREST))
    return np.concatenate([pixels_HWC, mask_HW[..., None]], axis=2)
