"""Samples from a tar archive in the layout of WebDataset, read where they lie: nothing is unpacked to disk."""

from __future__ import annotations

import json
import mmap
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from recognition.data.mapping import cut_short
from recognition.data.row_cache import cached_rows
from recognition.data.sources.content import Content, file_content
from recognition.data.sources.files import IMAGE_SUFFIXES
from recognition.data.sources.sample import Sample
from recognition.data.tar_format import RECOPY, Member, member_place, name_before, tar_error, walk
from recognition.errors import InputError

CACHE_MAGIC = b"arcscale tar   1"
CACHE_FROM = 1000  # samples; walking over fewer takes milliseconds
IMAGES = frozenset(suffix[1:].encode() for suffix in IMAGE_SUFFIXES)
LABEL_KEYS = ("label", "cls", "class")
TOGETHER = "the members of a sample follow each other (tar --sort=name)"
NUMBER = "write the class as a number from 0 on into a .cls member, or into a .json member under `label`"


class TarSource:
    """One shard: members that share a name up to the first dot are a sample, in the order of the archive.

    The image is known by its extension (.jpg, .png, .webp, ...), the label is the number in the .cls member, else
    `label`, `cls` or `class` of the .json one. A sample that lacks one of the two is an InputError, as are damage and
    a label that is none; other members are left out. Reads are slices of one memory map, as RecordReader's. The index
    of a large shard is cached beside it (row_cache.py).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}); restore the shard") from error
        except ValueError as error:
            raise InputError(f"{self.path}: the file is empty; re-copy it") from error
        self._view = memoryview(self._map)
        rows = cached_rows(self.path, self._find, magic=CACHE_MAGIC, made_from=[self.path], least=CACHE_FROM)
        self.offsets, self.sizes, self._labels = rows
        self.num_classes: int | None = int(self._labels.max(initial=-1)) + 1

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, index: int) -> Sample:
        """Payload (a view of the file) and label; InputError when the shard was cut short since it was opened."""
        start = int(self.offsets[index])
        if problem := cut_short(self._map):
            raise tar_error(self.path, None, start, problem, RECOPY)
        return Sample(self._view[start : start + int(self.sizes[index])], int(self._labels[index]))

    def describe(self, index: int) -> str:
        """`FILE member NAME at offset OFFSET`."""
        offset = int(self.offsets[index])
        return member_place(self.path, None if cut_short(self._map) else name_before(self._view, offset), offset)

    def labels(self) -> np.ndarray:
        """int64 labels of all samples; not to be changed."""
        return self._labels

    def content(self, ends_bytes: int) -> Content:
        """Index, labels and ends of the shard."""
        return file_content(self.path, [self.offsets, self.sizes, self._labels], ends_bytes)

    def _find(self) -> Sequence[np.ndarray]:
        offsets, sizes, labels = rows = array("q"), array("q"), array("q")
        for image, label in find_samples(walk(self._view, self.path), self._view, self.path):
            offsets.append(image.offset)
            sizes.append(image.size)
            labels.append(label)
        return [np.frombuffer(row, np.int64) for row in rows]


def find_samples(members: Iterable[Member], view: memoryview, path: Path) -> Iterator[tuple[Member, int]]:
    """Image and label of each sample; InputError naming the member for a sample that is not whole, or is ambiguous."""
    named = (member for member in members if _suffix(member.name))
    for _, group in groupby(named, _key):
        parts: dict[str, Member] = {}
        for member in group:
            suffix = _suffix(member.name)
            part = "image" if suffix in IMAGES else suffix.decode("ascii", "replace")
            if part not in ("image", "cls", "json"):
                continue
            if part in parts:
                remedy = "keep one; name what is no training image otherwise, e.g. NAME.mask.png"
                raise _error(path, member, f"a second .{suffix.decode()} of the same sample", remedy)
            if member.is_link:
                raise _error(path, member, "a link, not a file", "pack with tar --dereference --hard-dereference")
            parts[part] = member
        image, of_label = parts.get("image"), parts.get("cls") or parts.get("json")
        if image and of_label:
            yield image, _label(bytes(view[of_label.offset :][: of_label.size]), of_label, path)
        elif image:
            raise _error(path, image, "an image without a label", f"add its .cls or .json; {TOGETHER}")
        elif "cls" in parts:
            raise _error(path, of_label, "a label without an image", f"add its image; {TOGETHER}")


def _key(member: Member) -> bytes:
    """What the members of a sample share: folder, and name up to the first dot."""
    folder, slash, name = member.name.rpartition(b"/")
    return folder + slash + name.split(b".", 1)[0]


def _suffix(name: bytes) -> bytes:
    """All behind the first dot, in small letters; nothing for hidden files and those without one."""
    stem, _, suffix = name.rpartition(b"/")[2].partition(b".")
    return suffix.lower() if stem else b""


def _label(text: bytes, member: Member, path: Path) -> int:
    if _suffix(member.name) == b"json":
        try:
            values = json.loads(text)
        except ValueError as error:
            raise _error(path, member, f"not readable as JSON ({error})", RECOPY) from error
        found = [values[key] for key in LABEL_KEYS if key in values] if isinstance(values, dict) else []
        label = found[0] if found else None
        is_number = isinstance(label, int) and not isinstance(label, bool)
        shown = repr(label) if found else "no " + ", ".join(LABEL_KEYS)
    else:
        is_number = text.strip().isdigit()
        label, shown = int(text) if is_number else None, repr(text[:40].decode("ascii", "backslashreplace"))
    if not is_number or not 0 <= label < 1 << 63:
        raise _error(path, member, f"{shown} is not a class number", NUMBER)
    return label


def _error(path: Path, member: Member, problem: str, remedy: str) -> InputError:
    return tar_error(path, member.name, member.offset, problem, remedy)
