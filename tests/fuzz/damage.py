"""What can happen to the files of a set; each kind of damage is a function of the set and a random generator."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from recognition.data.record_format import FIRST, FRAME, LAST, MAGIC, MAGIC_BYTES, MAX_BYTES, MIDDLE
from tests.fuzz.bases import Base
from tests.fuzz.bombs import KINDS, bomb

Files = dict[str, bytearray]
Damage = Callable[[Files, Base, np.random.Generator], None]

BOMBS = [bomb(kind) for kind in KINDS if kind != "PNG with a text"]
LABELS = (
    float("nan"),
    float("inf"),
    -float("inf"),
    -1.0,
    0.5,
    1e30,
    2.0**24,
    2.0**24 + 2,
    2.0**31,
    2.0**63,
    6.0,
    5.0,
    7.0,
    300.0,
)
COUNTS = (1, 2, 3, 100, 1 << 16, 1 << 29, 1 << 31, (1 << 32) - 1)
NUMBERS = (b"", b"-1", b"0", b"1", b"3", b"7", b"1e3", b"nan", b"9" * 18, b"9" * 19, b"9" * 5000, b"\xff6", bytes(9))
BAD_LINES = (
    *(b"", b"7", b"7\t", b"\t7", b"7 8", b"7\t8\t9", b"-7\t8", b"7\t-8", b"7\tx", b"\xff\0\n", b"7\t1e3", b"0x7\t8"),
    *(b"7\t" + b"9" * 19, b"7\t" + b"9" * 200_000, b"8" * 200_000, bytes(200_000), b"cposix\nsystem\n(S'ls'\ntR."),
)


def damaged(base: Base, *, with_checks: bool, rng: np.random.Generator) -> tuple[Files, list[str]]:
    """The files of `base` after one to three things have happened to them, and the names of these."""
    files = {name: bytearray(data) for name, data in base.files.items() if with_checks or name != "train.crc"}
    happened = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        # Most of it to the records: what is wrong with the rest is mostly found before any of them is read.
        kinds = _one([OF_RECORDS] * 6 + [OF_INDEX] * 2 + [OF_CHECKS if with_checks else OF_RECORDS, (_property,)], rng)
        kind = _one(kinds, rng)
        kind(files, base, rng)
        happened.append(kind.__name__.strip("_"))
    return files, happened


def _one(choices, rng: np.random.Generator):
    return choices[int(rng.integers(len(choices)))]


def _put(data: bytearray, at: int, new: bytes) -> None:
    """Overwrite, and stay inside."""
    data[at : at + len(new)] = new[: max(0, len(data) - at)]


def _flip(data: bytearray, rng: np.random.Generator, start: int = 0, stop: int | None = None) -> None:
    stop = len(data) if stop is None else min(stop, len(data))
    if start < stop:
        data[int(rng.integers(start, stop))] ^= 1 << int(rng.integers(8))


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data) + 1)) :]


# --- the records ------------------------------------------------------------------------------------------------------


def _flip_in_records(files, base, rng):
    for _ in range(rng.choice([1, 1, 10, 100])):
        _flip(files["train.rec"], rng)


def _flip_in_a_header(files, base, rng):
    at = _one(list(base.offsets.values()), rng)
    _flip(files["train.rec"], rng, at, at + 32)


def _cut_records(files, base, rng):
    _cut(files["train.rec"], rng)


def _cut_records_at_a_record(files, base, rng):
    del files["train.rec"][_one(list(base.offsets.values()), rng) :]


def _bytes_lost_in_records(files, base, rng):
    at = int(rng.integers(len(files["train.rec"]) + 1))
    del files["train.rec"][at : at + int(rng.integers(1, 13))]


def _bytes_added_to_records(files, base, rng):
    at = int(rng.integers(len(files["train.rec"]) + 1))
    files["train.rec"][at:at] = _one([b"\0", b"x" * 4, MAGIC_BYTES, bytes(4096), files["train.rec"][:500]], rng)


def _page_of_zeros(files, base, rng):
    at = int(rng.integers(len(files["train.rec"]) + 1)) // 512 * 512
    _put(files["train.rec"], at, bytes(4096))


def _page_of_elsewhere(files, base, rng):
    pages = len(files["train.rec"]) // 256 + 1
    to, of = (rng.integers(pages, size=2) * 256).tolist()
    _put(files["train.rec"], to, bytes(files["train.rec"][of : of + 256]))


def _wrong_length(files, base, rng):
    at = _one(base.frames, rng)
    cflag, length = base_word(base, at)
    length = _one([0, 1, 23, 24, 28, length - 4, length + 4, length + 1, 1 << 20, MAX_BYTES], rng) & MAX_BYTES
    _put(files["train.rec"], at + 4, struct.pack("<I", cflag << 29 | length))


def _wrong_part_flag(files, base, rng):
    at = _one(base.frames, rng)
    _put(files["train.rec"], at + 4, struct.pack("<I", int(rng.integers(8)) << 29 | base_word(base, at)[1]))


def _chain_of_empty_parts(files, base, rng):
    at, parts = _one(list(base.offsets.values()), rng), FRAME.pack(MAGIC, MIDDLE << 29) * 300
    last = FRAME.pack(MAGIC, LAST << 29) if rng.integers(2) else b""
    _put(files["train.rec"], at, FRAME.pack(MAGIC, FIRST << 29) + parts + last)


def _lost_magic(files, base, rng):
    _put(files["train.rec"], _one(base.frames, rng), _one([bytes(4), b"\xff" * 4, MAGIC_BYTES[::-1]], rng))


def _wrong_label(files, base, rng):
    at = _one(list(base.offsets.values()), rng) + _one([12, 12, 32, 36], rng)
    _put(files["train.rec"], at, struct.pack("<f", _one(LABELS, rng)))


def _wrong_number_of_labels(files, base, rng):
    _put(files["train.rec"], _one(list(base.offsets.values()), rng) + 8, struct.pack("<I", _one(COUNTS, rng)))


def _wrong_id(files, base, rng):
    at, id_ = _one(list(base.offsets.values()), rng), int(rng.integers(1 << 63))
    _put(files["train.rec"], at + _one([16, 24], rng), struct.pack("<Q", _one([0, 1, 3, 1 << 24, id_], rng)))


def _payload_of_no_bytes(files, base, rng):
    _put(files["train.rec"], _one(list(base.offsets.values()), rng) + 4, struct.pack("<I", 24))


def _payload_of_a_bomb(files, base, rng):
    _put(files["train.rec"], _one(list(base.offsets.values()), rng) + 32, _one(BOMBS, rng))


def _payload_of_rubbish(files, base, rng):
    _put(files["train.rec"], _one(list(base.offsets.values()), rng) + 32 + _one([0, 2, 20, 100], rng), rng.bytes(60))


def base_word(base: Base, at: int) -> tuple[int, int]:
    """Part flag and length of the frame `at`, before any damage."""
    word = struct.unpack_from("<I", base.files["train.rec"], at + 4)[0]
    return word >> 29, word & MAX_BYTES


# --- the index --------------------------------------------------------------------------------------------------------


def _edit_lines(files: Files, edit: Callable[[list[bytes]], None]) -> None:
    if "train.idx" in files:
        lines = bytes(files["train.idx"]).split(b"\n")
        edit(lines)
        files["train.idx"][:] = b"\n".join(lines)


def _flip_in_index(files, base, rng):
    if "train.idx" in files:
        _flip(files["train.idx"], rng)


def _cut_index(files, base, rng):
    if "train.idx" in files:
        _cut(files["train.idx"], rng)


def _no_index(files, base, rng):
    files.pop("train.idx", None)


def _bad_line(files, base, rng):
    _edit_lines(files, lambda lines: lines.insert(int(rng.integers(len(lines))), _one(BAD_LINES, rng)))


def _line_lost(files, base, rng):
    _edit_lines(files, lambda lines: lines.pop(int(rng.integers(len(lines)))))


def _line_twice(files, base, rng):
    _edit_lines(files, lambda lines: lines.insert(0, _one(lines, rng)))


def _lines_in_another_order(files, base, rng):
    _edit_lines(files, lambda lines: rng.shuffle(lines))


def _other_line(files, base, rng):
    keys, size = list(base.offsets), len(base.files["train.rec"])
    key = _one([_one(keys, rng), keys[-1] + 1, 0, 10**17, int(rng.integers(100))], rng)
    near = _one(list(base.offsets.values()), rng) + _one([-4, 0, 0, 4, 8, 1], rng)
    offset = _one([near, near, size - 4, size, size + 4, 10**17, int(rng.integers(size))], rng)

    def edit(lines: list[bytes]) -> None:
        lines[int(rng.integers(len(lines)))] = b"%d\t%d" % (key, max(0, offset))

    _edit_lines(files, edit)


def _swapped_offsets(files, base, rng):
    def edit(lines: list[bytes]) -> None:
        one, two = rng.integers(max(1, len(lines) - 1), size=2).tolist()
        (a, _, x), (b, _, y) = lines[one].partition(b"\t"), lines[two].partition(b"\t")
        lines[one] = a + b"\t" + y
        lines[two] = b + b"\t" + (x if one != two else y)

    _edit_lines(files, edit)


def _windows_lines(files, base, rng):
    if "train.idx" in files:
        files["train.idx"][:] = files["train.idx"].replace(b"\n", b"\r\n")


# --- what lies beside them --------------------------------------------------------------------------------------------


def _property(files, base, rng):
    files["property"] = bytearray(_one(NUMBERS, rng) + _one([b"", b",112,112", b"\n", b"," * 100_000], rng))


def _flip_in_checks(files, base, rng):
    _flip(files["train.crc"], rng)


def _flip_in_the_head_of_checks(files, base, rng):
    _flip(files["train.crc"], rng, 0, 64)


def _cut_checks(files, base, rng):
    _cut(files["train.crc"], rng)


def _bytes_added_to_checks(files, base, rng):
    files["train.crc"] += bytes(int(rng.integers(1, 100)))


def _other_checks(files, base, rng):
    files["train.crc"][64:] = rng.bytes(max(0, len(files["train.crc"]) - 64))


OF_CHECKS = (_flip_in_checks, _flip_in_the_head_of_checks, _cut_checks, _bytes_added_to_checks, _other_checks)
OF_RECORDS = (
    *(_flip_in_records, _flip_in_a_header, _cut_records, _cut_records_at_a_record, _bytes_lost_in_records),
    *(_bytes_added_to_records, _page_of_zeros, _page_of_elsewhere, _wrong_length, _wrong_part_flag, _lost_magic),
    *(_chain_of_empty_parts, _wrong_label, _wrong_number_of_labels, _wrong_id, _payload_of_no_bytes),
    *(_payload_of_a_bomb, _payload_of_rubbish),
)
OF_INDEX = (
    *(_flip_in_index, _cut_index, _no_index, _bad_line, _line_lost, _line_twice, _lines_in_another_order, _other_line),
    *(_swapped_offsets, _windows_lines),
)
KINDS_OF_DAMAGE: tuple[Damage, ...] = (*OF_RECORDS, *OF_INDEX, _property, *OF_CHECKS)
