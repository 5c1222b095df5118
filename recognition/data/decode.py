"""Encoded image -> pixels in a given buffer; nothing is allocated before the header has said that the size is right."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from recognition.errors import InputError

Payload = bytes | memoryview | np.ndarray
Where = Callable[[], str]

# Pillow opens some formats with external programs (EPS runs Ghostscript); data sets hold these.
PILLOW_FORMATS = ("PNG", "BMP", "WEBP", "PPM", "TIFF", "GIF", "JPEG", "JPEG2000")
MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # where Pillow stops
# The last two are what damaged tags of TIFF and EXIF end in.
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, TypeError, struct.error)
# EXIF orientation -> what turns the stored picture upright; 1 is upright, others are not defined.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_into(out_HWC: np.ndarray, payload: Payload, where: Where) -> None:
    """Write the pixels of `payload` (an image file, or uint8 (H, W, 3)) into `out_HWC`, uint8 RGB, C-contiguous.

    InputError, beginning with `where()`, for a damaged image and for one of another size than `out_HWC`.
    """
    height, width = out_HWC.shape[:2]
    if isinstance(payload, np.ndarray):
        check_size(payload, height, width, where)
        out_HWC[...] = payload
    elif is_jpeg(payload):
        found_height, found_width, colours = _jpeg_header(payload, where)
        _require_size((found_height, found_width), height, width, where)
        # libjpeg leaves the conversion of ink colours to its caller, so these few go to Pillow.
        if colours in ("CMYK", "YCCK"):
            _decode_with_pillow(out_HWC, payload, where)
        else:
            _decode_jpeg(out_HWC, payload, where)
    else:
        _decode_with_pillow(out_HWC, payload, where)


def decoded(payload: Payload, where: Where) -> np.ndarray:
    """Pixels uint8 (H, W, 3) RGB of an image of any size; InputError, beginning with `where()`, for a damaged one."""
    pixels_HWC = np.empty((*announced_size(payload, where), 3), np.uint8)
    decode_into(pixels_HWC, payload, where)
    return pixels_HWC


def announced_size(payload: Payload, where: Where) -> tuple[int, int]:
    """Height and width by the header of `payload`, nothing decoded; InputError for what is no image or a huge one."""
    if isinstance(payload, np.ndarray):
        if payload.dtype != np.uint8 or payload.ndim != 3 or payload.shape[2] != 3:
            kind = f"{payload.dtype} {payload.shape}"
            raise InputError(f"{where()}: pixels must be uint8 (H, W, 3), not {kind}; convert them")
        return payload.shape[:2]
    if is_jpeg(payload):
        height, width, _ = _jpeg_header(payload, where)
        if height * width > MAX_PIXELS:
            raise damaged(where, "JPEG", f"{width}x{height} exceeds limit of {MAX_PIXELS} pixels")
        return height, width
    with open_image(payload, where) as image:
        return image.height, image.width


def check_size(payload: Payload, height: int, width: int, where: Where) -> None:
    """InputError unless the header of `payload` can be read and announces this size; decodes nothing."""
    _require_size(announced_size(payload, where), height, width, where)


def open_image(payload: bytes | memoryview, where: Where) -> Image.Image:
    """The image with its header read, its pixels not yet decoded; InputError for what is not an image."""
    if not len(payload):
        raise damaged(where, "image", "it has 0 bytes")
    try:
        return Image.open(BytesIO(payload), formats=PILLOW_FORMATS)
    except Image.UnidentifiedImageError as error:
        raise damaged(where, "image", "unknown format") from error
    except PILLOW_ERRORS as error:
        raise damaged(where, "image", str(error)) from error


def upright_image(payload: bytes | memoryview, where: Where) -> Image.Image:
    """The image as RGB, turned as its EXIF orientation says; InputError for what is not an image of 8 bits."""
    with open_image(payload, where) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{where()}: more than 8 bits per pixel ({image.mode}); convert it to 8 bits first")
        try:
            upright = image.convert("RGB")
            # Not ImageOps.exif_transpose: it writes the EXIF data anew, and fails where these are damaged. And not
            # before the pixels are read: of a TIFF, Pillow turns them itself then, and takes the orientation away.
            turn = _TO_UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
            return upright if turn is None else upright.transpose(turn)
        except PILLOW_ERRORS as error:
            raise damaged(where, "image", str(error)) from error


def is_jpeg(payload: bytes | memoryview) -> bool:
    """True when the bytes begin as those of a JPEG do."""
    return bytes(payload[:3]) == b"\xff\xd8\xff"


def damaged(where: Where, kind: str, reason: str) -> InputError:
    """The one wording for an image that cannot be read; `kind` is what it should have been."""
    remedy = "restore it from the original, or leave it out of the set"
    return InputError(f"{where()}: not a readable {kind} ({reason[:120].rstrip('. ')}); {remedy}")


def _require_size(found: tuple[int, int], height: int, width: int, where: Where) -> None:
    if found != (height, width):
        setting = f", or set image_size={found[0]}" if found[0] == found[1] and found[0] % 16 == 0 else ""
        raise InputError(
            f"{where()}: the image is {found[1]}x{found[0]} pixels, {width}x{height} is expected; align and crop the "
            f"faces to {width}x{height} (launch/records.py pack --align does, pack --image-size {width} only "
            f"resizes){setting}"
        )


def _jpeg_header(payload: bytes | memoryview, where: Where) -> tuple[int, int, str]:
    """Height, width and colour space."""
    try:
        return simplejpeg.decode_jpeg_header(payload)[:3]
    except ValueError as error:
        raise damaged(where, "JPEG", str(error)) from error


def _decode_jpeg(out_HWC: np.ndarray, payload: bytes | memoryview, where: Where) -> None:
    try:
        simplejpeg.decode_jpeg(payload, "RGB", buffer=out_HWC)
    except ValueError as error:
        raise damaged(where, "JPEG", str(error)) from error


def _decode_with_pillow(out_HWC: np.ndarray, payload: bytes | memoryview, where: Where) -> None:
    with open_image(payload, where) as image:
        _require_size((image.height, image.width), *out_HWC.shape[:2], where)
        try:
            out_HWC[...] = np.asarray(image.convert("RGB"))
        except PILLOW_ERRORS as error:
            raise damaged(where, "image", str(error)) from error
