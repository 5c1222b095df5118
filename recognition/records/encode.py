"""Any image file -> the JPEG that goes into a record: untouched where it fits already, else fitted and encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import simplejpeg
from PIL import Image, ImageOps
from tqdm import tqdm

from recognition.data.decode import (
    PILLOW_ERRORS,
    Where,
    announced_size,
    damaged,
    decode_into,
    is_jpeg,
    open_image,
)
from recognition.data.threads import map_in_order
from recognition.errors import InputError

MAX_SIZE = 4096
FITS = ("pad", "crop", "stretch")
Item = TypeVar("Item")


def to_jpeg(
    payload: bytes, where: Where, *, image_size: int | None = None, fit: str = "pad", quality: int = 95
) -> tuple[bytes, tuple[int, int]]:
    """Return (JPEG bytes, (height, width)); a sound JPEG that has `image_size` (None: any size) keeps its bytes.

    `fit` makes other images square: `pad` keeps all of it and adds black bars, `crop` cuts the longer side, `stretch`
    distorts. InputError, beginning with `where()`, for what is not an image.
    """
    if fit not in FITS:
        raise InputError(f"fit={fit!r} is not known; use one of {', '.join(FITS)}")
    if not (1 <= quality <= 100 and (image_size is None or 1 <= image_size <= MAX_SIZE)):
        raise InputError(f"quality {quality} must be 1 to 100, image size {image_size} must be 1 to {MAX_SIZE}")
    if is_jpeg(payload):
        size = announced_size(payload, where)
        if image_size is None or size == (image_size, image_size):
            decode_into(np.empty((*size, 3), np.uint8), payload, where)
            return payload, size
    with open_image(payload, where) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{where()}: more than 8 bits per pixel ({image.mode}); convert it to 8 bits first")
        try:
            pixels_HWC = _fitted(ImageOps.exif_transpose(image).convert("RGB"), image_size, fit)
        except PILLOW_ERRORS as error:
            raise damaged(where, "image", str(error)) from error
    return simplejpeg.encode_jpeg(pixels_HWC, quality, "RGB", "420"), pixels_HWC.shape[:2]


def _fitted(image: Image.Image, image_size: int | None, fit: str) -> np.ndarray:
    if image_size is not None and image.size != (image_size, image_size):
        square = (image_size, image_size)
        how = Image.Resampling.BICUBIC
        if fit == "pad":
            image = ImageOps.pad(image, square, method=how)
        elif fit == "crop":
            image = ImageOps.fit(image, square, method=how)
        else:
            image = image.resize(square, how)
    return np.ascontiguousarray(image)


def encode_all(
    items: Sequence[Item],
    read: Callable[[Item], bytes],
    describe: Callable[[Item], str],
    title: str,
    *,
    image_size: int | None = None,
    fit: str = "pad",
    quality: int = 95,
) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """`to_jpeg` of each item in order, under a progress bar called `title`; InputError unless all have one size."""

    def encode(item: Item) -> tuple[bytes, tuple[int, int]]:
        return to_jpeg(read(item), partial(describe, item), image_size=image_size, fit=fit, quality=quality)

    size = None
    jpegs = tqdm(map_in_order(encode, items), title, len(items), unit="image", delay=1, disable=None)
    for (jpeg, found), item in zip(jpegs, items):
        size = size or found
        if found != size:
            raise InputError(
                f"{describe(item)}: is {found[1]}x{found[0]} pixels, the images before it are {size[1]}x{size[0]}; "
                f"give --image-size to bring all to one size"
            )
        yield jpeg, size
