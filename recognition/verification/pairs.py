"""Verification sets in InsightFace's `.bin` form, a pickle of (2P images, P flags): written, and read without trust."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recognition.atomic import replacing
from recognition.data.decode import Where, announced_size, decode_into
from recognition.data.pictures import Pictures
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.verification.pickled import PickleError, finished, read_pickled_data

MAX_FILE_BYTES = 8 << 30
MAX_IMAGE_PIXELS = 4 << 20
MAX_DECODED_BYTES = 32 << 30


@dataclass(frozen=True)
class Pairs:
    """P pairs of pictures: `images` (2P pictures, uint8 (H, W, 3) RGB), pair p in 2p and 2p+1; `issame` bool (P,).

    `images` is an array (2P, H, W, 3), or `StoredPictures` that are decoded when they are asked for.
    """

    images: Pictures
    issame: np.ndarray

    def __len__(self) -> int:
        return len(self.issame)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all pictures."""
        return self.images.shape[1:3] if isinstance(self.images, np.ndarray) else self.images.size


class StoredPictures:
    """Pictures in memory as their files have them, all of one `size` (height, width); decoded when asked for.

    InputError naming the file and the image for one that is damaged, or for sizes that differ.
    """

    def __init__(self, images: list, path: Path) -> None:
        self.path = path
        self.payloads = [_payload(image, partial(_place, path, index)) for index, image in enumerate(images)]
        sizes = [_size(payload, partial(_place, path, index)) for index, payload in enumerate(self.payloads)]
        self.size = height, width = sizes[0]
        for index, size in enumerate(sizes):
            if size != self.size:
                raise InputError(
                    f"{_place(path, index)}: is {size[1]}x{size[0]} pixels, but image 0 is {width}x{height}; "
                    "align all of them to one size"
                )

    def __len__(self) -> int:
        return len(self.payloads)

    def __getitem__(self, index: int) -> np.ndarray:
        pixels_HWC = np.empty((*self.size, 3), np.uint8)
        self.decode(index, pixels_HWC)
        return pixels_HWC

    def decode(self, index: int, out_HWC: np.ndarray) -> None:
        """Write that picture into `out_HWC`, uint8 of `size`."""
        decode_into(out_HWC, self.payloads[index], partial(_place, self.path, index))


def load_pairs(path: str | PathLike, *, progress: bool = True) -> Pairs:
    """Read and decode a `.bin` set of any pickle protocol; InputError naming the file and the image that is wrong.

    Images are encoded pictures (JPEG, PNG, ...) as bytes or uint8 arrays, or decoded uint8 arrays (H, W, 3) in RGB.
    """
    stored = open_pair_file(path)
    pictures = stored.images
    height, width = pictures.size
    if len(pictures) * height * width * 3 > MAX_DECODED_BYTES:
        limit = f"{MAX_DECODED_BYTES >> 30} GiB"
        raise InputError(f"{path}: {len(pictures)} images of {width}x{height} need more than {limit}")
    decoded = np.empty((len(pictures), height, width, 3), np.uint8)
    hidden = None if progress else True  # None: hidden unless a terminal watches
    done = map_in_order(lambda index: pictures.decode(index, decoded[index]), range(len(pictures)))
    for _ in tqdm(done, f"decoding {Path(path).name}", len(pictures), delay=2, leave=False, disable=hidden):
        pass
    return Pairs(decoded, stored.issame)


def open_pair_file(path: str | PathLike) -> Pairs:
    """As load_pairs, but pictures stay encoded until they are asked for; their headers are read, all of one size."""
    path = Path(path)
    images, flags = _read_content(path)
    issame = _flags(flags, path)
    if len(images) != 2 * len(issame):
        raise InputError(
            f"{path} has {len(images)} images for {len(issame)} pairs; it needs exactly two images for each pair"
        )
    if not images:
        raise InputError(f"{path} holds no pairs")
    return Pairs(StoredPictures(images, path), issame)


def _read_content(path: Path) -> tuple[Any, Any]:
    if not path.is_file():
        raise InputError(f"verification set {path} does not exist or is no file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path} has more than {MAX_FILE_BYTES >> 30} GiB; no verification set is that large")
    try:
        content = read_pickled_data(path.read_bytes())
        if not isinstance(content, (tuple, list)) or len(content) != 2:
            raise PickleError("expected a pair of two lists: 2P images and P flags")
        images, flags = (finished(part) for part in content)
        if not all(isinstance(part, (list, tuple, np.ndarray)) for part in (images, flags)):
            raise PickleError("expected a pair of two lists: 2P images and P flags")
        return [finished(image) for image in images], [finished(flag) for flag in flags]
    except PickleError as error:
        raise InputError(f"{path} is not a readable verification set (.bin): {error}") from error


def _flags(flags: list, path: Path) -> np.ndarray:
    """P booleans; numbers 0 and 1 and their numpy forms count as booleans."""
    issame = np.zeros(len(flags), bool)
    for pair, flag in enumerate(flags):
        value = flag.item() if isinstance(flag, (np.ndarray, np.generic)) and flag.size == 1 else flag
        if not isinstance(value, (bool, int)) or value not in (0, 1):
            raise InputError(f"{path}: the same-person flag of pair {pair} is neither true nor false")
        issame[pair] = value
    return issame


def _place(path: Path, index: int) -> str:
    return f"{path}: image {index} (pair {index // 2}, {'second' if index % 2 else 'first'} picture)"


def _payload(image: Any, where: Where) -> bytes | np.ndarray:
    """An encoded picture as bytes (packers store bytes or a uint8 vector), or a decoded one as it is."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return image if image.ndim == 3 and image.shape[2] == 3 else image.tobytes()
    raise InputError(f"{where()}: is neither an encoded picture nor a uint8 array; store JPEG or PNG bytes")


def _size(payload: bytes | np.ndarray, where: Where) -> tuple[int, int]:
    """Height and width from the header alone; refuses what would be unreasonably large once decoded."""
    height, width = announced_size(payload, where)
    if not 0 < height * width <= MAX_IMAGE_PIXELS:
        raise InputError(f"{where()}: is {width}x{height} pixels; at most {MAX_IMAGE_PIXELS} pixels are read")
    return height, width


def write_pairs(path: str | PathLike, images: Sequence[bytes], issame: Sequence[bool]) -> None:
    """Write a verification set as insightface reads it, a pickle of (2P encoded images, P flags), in one step."""
    if len(images) != 2 * len(issame) or not images:
        raise InputError(f"{path}: {len(images)} images for {len(issame)} pairs; give two images for each pair")
    with replacing(Path(path)) as partial_file, open(partial_file, "wb") as file:
        pickle.dump(([bytes(image) for image in images], [bool(same) for same in issame]), file, protocol=4)
