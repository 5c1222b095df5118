"""Encoded image -> pixels in a given buffer; nothing is allocated before the header has said that the size is right."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import simplejpeg
from PIL import Image

from recognition.errors import InputError

Payload = bytes | memoryview | np.ndarray
Where = Callable[[], str]

# Pillow opens some formats with external programs (EPS runs Ghostscript); data sets hold these.
PILLOW_FORMATS = ("PNG", "BMP", "WEBP", "PPM", "TIFF", "GIF", "JPEG", "JPEG2000")
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, EOFError)


def decode_into(out_HWC: np.ndarray, payload: Payload, where: Where) -> None:
    """Write the pixels of `payload` (an image file, or uint8 (H, W, 3)) into `out_HWC`, uint8 RGB, C-contiguous.

    InputError, beginning with `where()`, for a damaged image and for one of another size than `out_HWC`.
    """
    height, width = out_HWC.shape[:2]
    if isinstance(payload, np.ndarray):
        _check_pixels(payload, height, width, where)
        out_HWC[...] = payload
    elif is_jpeg(payload):
        # libjpeg leaves the conversion of ink colours to its caller, so these few go to Pillow.
        if _jpeg_colours(payload, height, width, where) in ("CMYK", "YCCK"):
            _decode_with_pillow(out_HWC, payload, where)
        else:
            _decode_jpeg(out_HWC, payload, where)
    else:
        _decode_with_pillow(out_HWC, payload, where)


def check_header(payload: Payload, height: int, width: int, where: Where) -> None:
    """InputError unless the header of `payload` can be read and announces this size; decodes nothing."""
    if isinstance(payload, np.ndarray):
        _check_pixels(payload, height, width, where)
    elif is_jpeg(payload):
        _jpeg_colours(payload, height, width, where)
    else:
        _open_with_pillow(payload, height, width, where).close()


def is_jpeg(payload: bytes | memoryview) -> bool:
    """True when the bytes begin as those of a JPEG do."""
    return bytes(payload[:3]) == b"\xff\xd8\xff"


def _check_pixels(pixels: np.ndarray, height: int, width: int, where: Where) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(f"{where()}: pixels must be uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}; convert them")
    _check_size(pixels.shape[:2], height, width, where)


def _check_size(found: tuple[int, int], height: int, width: int, where: Where) -> None:
    if found != (height, width):
        raise InputError(
            f"{where()}: the image is {found[1]}x{found[0]} pixels, the run expects {width}x{height}; "
            f"align and crop the faces to {width}x{height} first, or set image_size"
        )


def _jpeg_colours(payload: bytes | memoryview, height: int, width: int, where: Where) -> str:
    """Colour space of a JPEG, its size checked."""
    try:
        found_height, found_width, colours, _ = simplejpeg.decode_jpeg_header(payload)
    except ValueError as error:
        raise _damaged(where, "JPEG", str(error)) from error
    _check_size((found_height, found_width), height, width, where)
    return colours


def _decode_jpeg(out_HWC: np.ndarray, payload: bytes | memoryview, where: Where) -> None:
    try:
        simplejpeg.decode_jpeg(payload, "RGB", buffer=out_HWC)
    except ValueError as error:
        raise _damaged(where, "JPEG", str(error)) from error


def _open_with_pillow(payload: bytes | memoryview, height: int, width: int, where: Where) -> Image.Image:
    """The image with its header read and its size checked, its pixels not yet decoded."""
    if not len(payload):
        raise _damaged(where, "image", "it has 0 bytes")
    try:
        image = Image.open(BytesIO(payload), formats=PILLOW_FORMATS)
    except Image.UnidentifiedImageError as error:
        raise _damaged(where, "image", "unknown format") from error
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        raise _damaged(where, "image", str(error)) from error
    _check_size((image.height, image.width), height, width, where)
    return image


def _decode_with_pillow(out_HWC: np.ndarray, payload: bytes | memoryview, where: Where) -> None:
    with _open_with_pillow(payload, *out_HWC.shape[:2], where) as image:
        try:
            out_HWC[...] = np.asarray(image.convert("RGB"))
        except PILLOW_ERRORS as error:
            raise _damaged(where, "image", str(error)) from error


def _damaged(where: Where, kind: str, reason: str) -> InputError:
    remedy = "restore it from the original, or pack the set without it"
    return InputError(f"{where()}: not a readable {kind} ({reason.rstrip('. ')}); {remedy}")
