"""MATLAB files of version 5 (`save -v6`, `-v7`) as published lists come in: numbers, text, cells and structs, no more.

The layout is MathWorks' "MAT-File Format" (R2023b), chapter 1. Every length is compared with the bytes that are there
before anything is made of it, so memory follows the size of the file, whatever it says of itself.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recognition.errors import InputError

HEADER_BYTES, TAG_BYTES = 128, 8
MAX_FILE_BYTES = 256 << 20  # lists of millions of pictures are a tenth of it
MAX_DEPTH, MAX_SIDES = 16, 32
MATRIX, COMPRESSED = 14, 15
# Types of numbers and of text as they are stored, by their code.
WHOLE = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 12: "i8", 13: "u8"}
NUMBERS = WHOLE | {7: "f4", 9: "f8"}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
CELL, STRUCT, CHAR = 1, 2, 4
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
COMPLEX = 0x0800
# What an entry that was never set holds; one for all, as eight bytes of a file make one.
EMPTY = np.zeros((0, 0))


class _Damaged(Exception):
    """What is wrong, without the file's name."""


@dataclass(frozen=True)
class Many:
    """A cell or struct array: its `shape`, and its `values`, columns first; those of structs are dicts by field."""

    shape: tuple[int, ...]
    values: list[Any]


def read_matlab(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """These variables of a file: arrays of numbers, text (rows of a char array as a list, one row as a str), or Many.

    InputError naming the file where there is none, where it is damaged or of another version, lacks one of them, or has
    something else in one (sparse or complex numbers, objects, functions).
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MB: it is no list of pictures")
    content = path.read_bytes()
    try:
        found = _variables(content, names)
    except _Damaged as error:
        raise InputError(
            f"{path} cannot be read as a MATLAB file: {error}; unpack the published archive again"
        ) from error
    if missing := [name for name in names if name not in found]:
        raise InputError(f"{path} lacks the variable {missing[0]!r}; it is not the published list")
    return found


def _variables(content: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    order = {b"IM": "<", b"MI": ">"}.get(content[126:HEADER_BYTES])
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:19] == b"MATLAB 7.3 MAT-file":
        raise _Damaged("it has version 7.3; save it with -v7")
    if order is None:
        raise _Damaged("it does not begin as one of version 5 does")
    found, reader, room = {}, _Reader(memoryview(content), order, HEADER_BYTES), MAX_FILE_BYTES
    while reader.left:
        kind, data = reader.element()
        if kind == COMPRESSED:
            inflated = _inflated(data, room)
            room -= len(inflated)
            kind, data = _Reader(memoryview(inflated), order, 0).element()
        if kind == MATRIX and len(data):
            matrix = _Reader(data, order, 0)
            head = matrix.head()
            if head.name in names:
                found[head.name] = matrix.value(head, MAX_DEPTH)
    return found


def _inflated(data: memoryview, room: int) -> bytes:
    """What was compressed; more than `room` bytes are damage."""
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(data, max(room, 1))  # 0 would be no limit
    except zlib.error as error:
        raise _Damaged(f"a compressed part is damaged ({error})") from error
    if not inflater.eof:
        raise _Damaged("a compressed part is cut short, or larger than any list")
    return out


@dataclass(frozen=True)
class _Head:
    """Class, flags, shape and name of an array."""

    kind: int
    flags: int
    shape: tuple[int, ...]
    name: str


class _Reader:
    """Elements one after the other, from `place` to the end of the data."""

    def __init__(self, data: memoryview, order: str, place: int) -> None:
        self.data, self.order, self.place = data, order, place

    @property
    def left(self) -> int:
        """Bytes that are still there."""
        return max(len(self.data) - self.place, 0)

    def element(self) -> tuple[int, memoryview]:
        """Type and data of the next one."""
        if self.left < TAG_BYTES:
            raise _Damaged("it ends within an element")
        first, second = struct.unpack_from(self.order + "2I", self.data, self.place)
        start = self.place + TAG_BYTES
        if first >> 16:  # up to four bytes, in the tag itself
            kind, size = first & 0xFFFF, first >> 16
            if size > 4:
                raise _Damaged(f"a small element has {size} bytes")
            self.place = start
            return kind, self.data[start - 4 : start - 4 + size]
        if second > len(self.data) - start:
            raise _Damaged(f"an element has {second} bytes, and {len(self.data) - start} are left")
        padding = 0 if first == COMPRESSED else -second % 8
        self.place = start + second + padding
        return first, self.data[start : start + second]

    def numbers(self, known: Mapping[int, str] = WHOLE) -> np.ndarray:
        """The next element as numbers of one of these types."""
        kind, data = self.element()
        if kind not in known:
            raise _Damaged(f"type {kind} stands where {'whole ' if known is WHOLE else ''}numbers should be")
        dtype = np.dtype(self.order + known[kind])
        if len(data) % dtype.itemsize:
            raise _Damaged(f"{len(data)} bytes are no numbers of {dtype.itemsize}")
        return np.frombuffer(data, dtype)

    def head(self) -> _Head:
        """What an array begins with."""
        flags, shape, name = self.numbers(), self.numbers(), self.numbers()
        if len(flags) != 2 or not 2 <= len(shape) <= MAX_SIDES or (shape < 0).any():
            raise _Damaged("an array has no shape")
        text = name.tobytes().decode("latin-1")
        return _Head(int(flags[0]) & 0xFF, int(flags[0]), tuple(int(side) for side in shape), text)

    def value(self, head: _Head, depth: int) -> Any:
        """The rest of the array that begins so."""
        if depth == 0:
            raise _Damaged(f"cells and structs are nested deeper than {MAX_DEPTH} times")
        count = math.prod(head.shape)
        if head.kind == CELL:
            self._require_room(count)
            return Many(head.shape, [self._nested(depth) for _ in range(count)])
        if head.kind == STRUCT:
            return self._structs(head.shape, count, depth)
        if head.kind == CHAR:
            return self._text(head.shape, count)
        if head.kind not in CLASSES or head.flags & COMPLEX:
            raise _Damaged(f"variable {head.name!r} holds something else than real numbers, text, cells and structs")
        numbers = self.numbers(NUMBERS if CLASSES[head.kind] in ("f4", "f8") else WHOLE)
        if len(numbers) != count:
            raise _Damaged(f"{len(numbers)} numbers are there for an array of {'x'.join(map(str, head.shape))}")
        try:
            return numbers.astype(CLASSES[head.kind]).reshape(head.shape, order="F")
        except ValueError as error:  # one side is 0, and the others are beyond any address
            raise _Damaged(f"an array has no shape ({error})") from error

    def _require_room(self, count: int) -> None:
        if count * TAG_BYTES > self.left:
            raise _Damaged(f"{count} entries cannot be in {self.left} bytes")

    def _nested(self, depth: int) -> Any:
        kind, data = self.element()
        if kind != MATRIX:
            raise _Damaged(f"type {kind} stands where an array should be")
        if not len(data):
            return EMPTY
        reader = _Reader(data, self.order, 0)
        return reader.value(reader.head(), depth - 1)

    def _structs(self, shape: tuple[int, ...], count: int, depth: int) -> Many:
        length = self.numbers()
        names = self.numbers().tobytes()
        size = int(length[0]) if len(length) == 1 else 0
        if size < 1 or len(names) % size:
            raise _Damaged("a struct has no names of fields")
        fields = [names[at : at + size].partition(b"\0")[0].decode("latin-1") for at in range(0, len(names), size)]
        if not fields and count > 1:
            raise _Damaged("a struct has no fields")
        self._require_room(count * len(fields))
        return Many(shape, [{field: self._nested(depth) for field in fields} for _ in range(count)])

    def _text(self, shape: tuple[int, ...], count: int) -> str | list[str]:
        kind, data = self.element()
        if kind not in TEXTS:
            raise _Damaged(f"type {kind} stands where text should be")
        suffix = {"<": "-le", ">": "-be"}[self.order] if TEXTS[kind] in ("utf-16", "utf-32") else ""
        try:
            text = bytes(data).decode(TEXTS[kind] + suffix)
        except UnicodeDecodeError as error:
            raise _Damaged(f"a text is damaged ({error.reason})") from error
        if len(text) != count:
            raise _Damaged(f"a text of {count} characters has {len(text)}")
        if shape[0] == 1 or not count:
            return text
        return [text[row :: shape[0]] for row in range(shape[0])]


def text_of(value: Any) -> str:
    """A text, also where it lies alone in a cell or as the first field of a struct; InputError for anything else."""
    while isinstance(value, (Many, dict)):
        held = list(value.values()) if isinstance(value, dict) else value.values
        if not held or (isinstance(value, Many) and len(held) > 1):
            break
        value = held[0]
    if not isinstance(value, str):
        raise InputError(f"a text is expected, and {type(value).__name__} is there")
    return value
