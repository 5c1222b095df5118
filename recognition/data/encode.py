"""Any image file -> the JPEG that goes into a record: untouched where it fits already, else fitted and encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from typing import TypeVar

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from recognition.data.decode import PILLOW_ERRORS, PILLOW_FORMATS, Where, decode_into, is_jpeg
from recognition.errors import InputError

MAX_SIZE = 4096
FITS = ("pad", "crop", "stretch")
Item, Result = TypeVar("Item"), TypeVar("Result")


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
    try:
        with Image.open(BytesIO(payload), formats=PILLOW_FORMATS) as image:
            height, width = image.height, image.width
            fits = image_size in (None, height) and image_size in (None, width)
            if fits and is_jpeg(payload):
                decode_into(np.empty((height, width, 3), np.uint8), payload, where)
                return payload, (height, width)
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{where()}: more than 8 bits per pixel ({image.mode}); convert it to 8 bits first")
            pixels_HWC = _fitted(ImageOps.exif_transpose(image).convert("RGB"), image_size, fit)
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        reason = "unknown format" if isinstance(error, Image.UnidentifiedImageError) else str(error).rstrip(". ")
        raise InputError(f"{where()}: not a readable image ({reason}); restore it or remove it from the set") from error
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


def map_in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `work(item)` for each item in order, computed by threads a little ahead of the consumer."""
    items = iter(items)
    threads = ThreadPoolExecutor()
    try:
        ahead = [threads.submit(work, item) for item in islice(items, 64)]
        while ahead:
            ahead += [threads.submit(work, item) for item in islice(items, 64)]
            now, ahead = ahead[:64], ahead[64:]
            for future in now:
                yield future.result()
    finally:
        # Ctrl-C or an error: what has not begun never will.
        threads.shutdown(cancel_futures=True)
