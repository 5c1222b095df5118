"""The members of a tar archive, walked over in memory: where the bytes of each file lie, and what is damaged.

A member is a header of 512 bytes (name, size, type, checksum of the header) and its bytes, filled up to a multiple of
512. Long names and large sizes come in members of their own before it: GNU's (type L) and those of pax (type x). Two
blocks of zeros end the archive. tarfile takes four times as long, and a damaged header for the archive's end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recognition.errors import InputError

BLOCK = 512
ZEROS = bytes(BLOCK)
FILES, LINKS, WITHOUT_BYTES, SPARSE = b"0\x007", b"12", b"123456", b"S"
LONG_NAME, LONG_LINK, PAX = b"LKx"
RECOPY = "the archive is damaged or cut short: re-copy it"


@dataclass(frozen=True, slots=True)
class Member:
    """A file (or, where `is_link`, what only points to one) of an archive: its bytes are [offset, offset + size)."""

    name: bytes
    offset: int
    size: int
    is_link: bool


def tar_error(path: Path, name: bytes | None, offset: int, problem: str, remedy: str) -> InputError:
    """The one wording of errors in archives."""
    return InputError(f"{member_place(path, name, offset)}: {problem}; {remedy}")


def member_place(path: Path, name: bytes | None, offset: int) -> str:
    """The one wording of where a member lies; `name` is None where it is not known."""
    of_name = "" if name is None else f" member {name.decode('utf-8', 'backslashreplace')}"
    return f"{path}{of_name} at offset {offset}"


def walk(view: memoryview, path: Path) -> Iterator[Member]:
    """Files and links of the archive whose bytes are `view`, in their order; InputError for all damage it can show."""
    at, long_name, pax = 0, None, {}
    while (header := _header(view, at, path)) is not None:
        name, size, kind = header
        start, size = at + BLOCK, 0 if kind in WITHOUT_BYTES else int(pax.get(b"size", size))
        if start + size > len(view):
            problem = f"{size} bytes from {start} run past the end of the file at {len(view)}"
            raise tar_error(path, name, at, problem, RECOPY)
        at = start + -(-size // BLOCK) * BLOCK
        if kind == LONG_NAME:
            long_name = bytes(view[start : start + size]).rstrip(b"\0")
        elif kind == PAX:
            pax = _pax_values(bytes(view[start : start + size]), path, start)
        elif kind != LONG_LINK:
            if kind in SPARSE or any(key.startswith(b"GNU.sparse.") for key in pax):
                raise tar_error(path, name, start, "a sparse file has no bytes of its own", "pack without --sparse")
            if kind in FILES or kind in LINKS:
                yield Member(pax.get(b"path", long_name or name), start, size, kind in LINKS)
            long_name, pax = None, {}
    if long_name is not None or pax:
        raise tar_error(path, None, at, "the archive ends behind a long name, without its file", RECOPY)
    # Archives joined with cat: whatever follows the first one's end would be silently left out.
    rest = view[at : at + (1 << 20)]
    if bytes(rest).strip(b"\0"):
        raise tar_error(path, None, at, "more follows the archive's end", "join archives with tar --concatenate")


def name_before(view: memoryview, offset: int) -> bytes:
    """The name in the header of the file whose bytes begin at `offset`: a long one's first 100 bytes."""
    return _name(bytes(view[offset - BLOCK : offset]))


def _header(view: memoryview, at: int, path: Path) -> tuple[bytes, int, int] | None:
    """(name, size in bytes, type) of the member at `at`; None for the archive's end."""
    block = bytes(view[at : at + BLOCK])
    if len(block) < BLOCK:
        raise tar_error(path, None, at, f"the file ends at {len(view)} without an archive's end", RECOPY)
    if block == ZEROS:
        return None
    try:
        found, size = _number(block[148:156]), _number(block[124:136])
    except ValueError:
        found = size = -1
    # Some old writers summed signed bytes, but names of plain letters and digits make no difference.
    if found != sum(block) - sum(block[148:156]) + 8 * ord(" ") or size < 0:
        raise tar_error(path, None, at, "no tar header begins there", RECOPY)
    return _name(block), size, block[156]


def _name(block: bytes) -> bytes:
    name, prefix = block[:100].split(b"\0", 1)[0], block[345:500].split(b"\0", 1)[0]
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name


def _number(field: bytes) -> int:
    """A number of a header: octal digits or, behind a byte 0x80, big-endian bytes."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.split(b"\0", 1)[0].strip() or b"0", 8)


def _pax_values(records: bytes, path: Path, offset: int) -> dict[bytes, bytes]:
    """Keys and values of a pax header, which is lines of `LENGTH KEY=VALUE`, LENGTH being that of the line."""
    values, at = {}, 0
    while at < len(records):
        length = records[at : at + 20].partition(b" ")[0]
        line = records[at : at + int(length)] if length.isdigit() else b""
        key, equals, value = line[len(length) + 1 : -1].partition(b"=")
        is_line = equals and line.endswith(b"\n") and len(line) == int(length)
        if not is_line or (key == b"size" and not value.isdigit()):
            raise tar_error(path, None, offset + at, "no line of a pax header begins there", RECOPY)
        values[key] = value
        at += int(length)
    return values
