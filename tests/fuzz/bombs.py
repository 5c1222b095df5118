"""Small image files whose headers promise tens of gigabytes of pixels."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tests.pictures import encoded

MOST = 65_500  # pixels a side that a JPEG may have
PICTURE = np.zeros((16, 16, 3), np.uint8)


def bomb(kind: str, side: int = MOST) -> bytes:
    """An image file of `kind` (of KINDS) that says it has `side` x `side` pixels; WebP can say 16,383 at most."""
    return KINDS[kind](bytearray(encoded(PICTURE, kind.split()[0])), side)


def _jpeg(data: bytearray, side: int) -> bytes:
    at = data.index(b"\xff\xc0") + 5  # marker, length, precision
    data[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def _png(data: bytearray, side: int) -> bytes:
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def _png_text(data: bytearray, side: int) -> bytes:
    """A picture of the right size behind a text of 64 megabytes."""
    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    chunk = b"zTXtkey\0\0" + text
    framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return bytes(data[:33] + framed + data[33:])


def _gif(data: bytearray, side: int) -> bytes:
    data[6:10] = struct.pack("<HH", side, side)
    at = data.index(b",") + 5
    data[at : at + 4] = struct.pack("<HH", side, side)
    return bytes(data)


def _bmp(data: bytearray, side: int) -> bytes:
    data[18:26] = struct.pack("<ii", side, side)
    return bytes(data)


def _webp(data: bytearray, side: int) -> bytes:
    at = data.index(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = struct.pack("<HH", *[min(side, 16_383)] * 2)
    return bytes(data)


def _tiff(data: bytearray, side: int) -> bytes:
    at = struct.unpack_from("<I", data, 4)[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] in (256, 257):  # ImageWidth, ImageLength
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(data)


def _ppm(data: bytearray, side: int) -> bytes:
    return bytes(data).replace(b"16 16", b"%d %d" % (side, side))


def _jpeg2000(data: bytearray, side: int) -> bytes:
    box, marker = data.index(b"ihdr") + 4, data.index(b"\xff\x51") + 6  # length and capabilities are left alone
    data[box : box + 8] = struct.pack(">II", side, side)
    data[marker : marker + 8] = struct.pack(">II", side, side)
    return bytes(data)


KINDS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "PNG with a text": _png_text,
    "GIF": _gif,
    "BMP": _bmp,
    "WEBP": _webp,
    "TIFF": _tiff,
    "PPM": _ppm,
    "JPEG2000": _jpeg2000,
}
