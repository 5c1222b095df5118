"""Decoding against Pillow, and refusal of everything that is not an image of the right size."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from recognition.data.decode import announced_size, check_size, decode_into, upright_image
from recognition.errors import InputError
from tests.pictures import encoded, face, pil_pixels, smooth

FACE = face()


def decoded(payload, size=112):
    out = np.full((size, size, 3), 77, np.uint8)
    decode_into(out, payload, lambda: "train.rec key 17")
    return out


def with_size(jpeg, height, width):
    """The same JPEG, announcing another size in its frame header (ITU T.81, B.2.2)."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_jpeg_pixels_equal_pillows(subsampling, wrap):
    jpeg = encoded(FACE, quality=90, subsampling=subsampling)
    np.testing.assert_array_equal(decoded(wrap(jpeg)), pil_pixels(jpeg))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("BMP", "RGB"), ("PPM", "L")],
)
def test_other_kinds_become_rgb_as_pillow_has_it(kind, mode):
    payload = encoded(Image.fromarray(FACE).convert(mode), kind)
    np.testing.assert_array_equal(decoded(payload), pil_pixels(payload))


def test_pixels_are_copied():
    np.testing.assert_array_equal(decoded(FACE), FACE)
    assert not np.shares_memory(decoded(FACE), FACE)


@pytest.mark.parametrize("check", [decoded, lambda payload: check_size(payload, 112, 112, lambda: "train.rec key 17")])
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (encoded(FACE[:100, :90].copy()), "90x100 pixels, 112x112 is expected"),
        (encoded(FACE[:100, :90].copy(), "PNG"), "90x100 pixels"),
        (FACE[:100, :90], "90x100 pixels"),
        (FACE[..., 0], "uint8"),
        (FACE.astype(np.float32), "float32"),
        (b"", "0 bytes"),
        (b"not an image at all", "unknown format"),
        (encoded(FACE)[:100], "not a readable JPEG"),
    ],
)
def test_unusable_images_are_named(check, payload, words):
    with pytest.raises(InputError, match="^train.rec key 17: ") as caught:
        check(payload)
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_images_cut_short_are_refused(kind):
    with pytest.raises(InputError, match="^train.rec key 17: not a readable"):
        decoded(encoded(FACE, kind)[:-900])


def test_damaged_jpeg_is_refused():
    jpeg = bytearray(encoded(FACE, quality=95))
    jpeg[-2000:-1900] = b"\xff\xd9" * 50
    with pytest.raises(InputError, match="not a readable JPEG"):
        decoded(bytes(jpeg))


@pytest.mark.parametrize(
    "check",
    [
        decoded,
        lambda payload: check_size(payload, 112, 112, lambda: "here"),
        lambda payload: announced_size(payload, lambda: "here"),
    ],
)
def test_image_bombs_are_refused_by_their_header(check):
    jpeg = with_size(encoded(FACE), 65_500, 65_500)
    png = encoded(FACE, "PNG")
    header = b"IHDR" + struct.pack(">II", 65_500, 65_500) + png[24:29]
    png = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    for bomb in (jpeg, png):
        started = time.perf_counter()
        with pytest.raises(InputError, match="65500x65500|exceeds limit"):
            check(bomb)
        # 65,500^2 pixels would be 12 GB and many seconds.
        assert time.perf_counter() - started < 0.5


def test_formats_that_run_programs_are_refused():
    with pytest.raises(InputError, match="unknown format"):
        decoded(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n%%EndComments\nshowpage\n")


# --- orientation ------------------------------------------------------------------------------------------------------


def with_orientation(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.ImageDescription] = "of a camera"
    exif[ExifTags.Base.XResolution] = 72.0
    return encoded(smooth(3, 24, 16), kind, exif=exif)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_turned_as_pillow_turns_them(kind, orientation):
    payload = with_orientation(kind, orientation)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(payload))).convert("RGB")
    found = upright_image(payload, lambda: "here")
    assert found.size == ((16, 24) if orientation in (5, 6, 7, 8) else (24, 16))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_damaged_exif_costs_no_picture():
    """A text becomes the width of the picture, by one byte of its tag; Pillow cannot write that anew."""
    payload = bytearray(with_orientation("JPEG", 6))
    description = payload.index(b"\x01\x0e\x00\x02")
    payload[description + 1] = 0
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(io.BytesIO(payload)))
    assert upright_image(bytes(payload), lambda: "here").size == (16, 24)


def test_damaged_tags_of_a_tiff_are_a_damaged_image():
    """Pillow ends in a TypeError on a tag of another type than it has."""
    payload = bytearray(encoded(smooth(3, 64, 48), "TIFF"))
    assert payload[72] == 4
    payload[72] = 2
    with pytest.raises(InputError, match="not a readable image"):
        upright_image(bytes(payload), lambda: "here")
