"""Encoded image -> pixels in a given buffer; nothing is allocated before the header has said that the size is right."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import simplejpeg
from PIL import Image

from recognition.errors import InputError

Payload = bytes | memoryview | np.ndarray

# Pillow opens some formats with external programs (EPS runs Ghostscript); data sets hold these.
PILLOW_FORMATS = ("PNG", "BMP", "WEBP", "PPM", "TIFF", "GIF", "JPEG", "JPEG2000")


def decode_into(out_HWC: np.ndarray, payload: Payload, where: Callable[[], str]) -> None:
    """Write the pixels of `payload` (an image file, or uint8 (H, W, 3)) into `out_HWC`, uint8 RGB, C-contiguous.

    InputError, beginning with `where()`, for a damaged image and for one of another size than `out_HWC`.
    """
    if isinstance(payload, np.ndarray):
        if payload.dtype != np.uint8 or payload.ndim != 3:
            raise InputError(
                f"{where()}: pixels must be uint8 (H, W, 3), not {payload.dtype} {payload.shape}; convert the source"
            )
        check_size(payload.shape[:2], out_HWC, where)
        out_HWC[...] = payload
    elif is_jpeg(payload):
        _decode_jpeg(out_HWC, payload, where)
    else:
        _decode_with_pillow(out_HWC, payload, where)


def is_jpeg(payload: bytes | memoryview) -> bool:
    """True when the bytes begin as a JPEG does."""
    return bytes(payload[:3]) == b"\xff\xd8\xff"


def check_header(payload: Payload, out_HWC: np.ndarray, where: Callable[[], str]) -> None:
    """InputError unless the header of `payload` is readable and announces the size of `out_HWC`; decodes nothing."""
    if isinstance(payload, np.ndarray):
        check_size(payload.shape[:2], out_HWC, where)
    elif is_jpeg(payload):
        _jpeg_colours(payload, out_HWC, where)
    else:
        _open_with_pillow(payload, out_HWC, where).close()


def check_size(size: tuple[int, ...], out_HWC: np.ndarray, where: Callable[[], str]) -> None:
    """InputError unless `size` (H, W) is that of `out_HWC`."""
    height, width = out_HWC.shape[:2]
    if tuple(size) != (height, width):
        raise InputError(
            f"{where()}: the image is {size[1]}x{size[0]} pixels, the run expects {width}x{height}; "
            f"align and crop the faces to {width}x{height} first, or set image_size"
        )


def _damaged(where: Callable[[], str], kind: str, error: Exception) -> InputError:
    reason = str(error).rstrip(". ") or type(error).__name__
    return InputError(
        f"{where()}: not a readable {kind} ({reason}); restore it from the original or pack the set without it"
    )


def _jpeg_colours(payload: bytes | memoryview, out_HWC: np.ndarray, where: Callable[[], str]) -> str:
    """Colour space of a JPEG whose header has been checked against `out_HWC`."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(payload)
    except ValueError as error:
        raise _damaged(where, "JPEG", error) from error
    check_size((height, width), out_HWC, where)
    return colours


def _decode_jpeg(out_HWC: np.ndarray, payload: bytes | memoryview, where: Callable[[], str]) -> None:
    if _jpeg_colours(payload, out_HWC, where) in ("CMYK", "YCCK"):
        # libjpeg leaves the conversion of ink colours to its caller.
        return _decode_with_pillow(out_HWC, payload, where)
    try:
        simplejpeg.decode_jpeg(payload, "RGB", buffer=out_HWC)
    except ValueError as error:
        raise _damaged(where, "JPEG", error) from error


def _open_with_pillow(payload: bytes | memoryview, out_HWC: np.ndarray, where: Callable[[], str]) -> Image.Image:
    if not len(payload):
        raise InputError(
            f"{where()}: holds no image (0 bytes); restore it from the original or pack the set without it"
        )
    try:
        image = Image.open(BytesIO(payload), formats=PILLOW_FORMATS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow's own words name a BytesIO object, which tells the user nothing.
        reason = ValueError("unknown format") if isinstance(error, Image.UnidentifiedImageError) else error
        raise _damaged(where, "image", reason) from error
    check_size((image.height, image.width), out_HWC, where)
    return image


def _decode_with_pillow(out_HWC: np.ndarray, payload: bytes | memoryview, where: Callable[[], str]) -> None:
    with _open_with_pillow(payload, out_HWC, where) as image:
        try:
            out_HWC[...] = np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise _damaged(where, "image", error) from error
