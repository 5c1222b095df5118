"""RecordIO files as MXNet, im2rec and InsightFace write them, read by key from any thread."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType

import numpy as np

from recognition.data.identity_records import labels_by_identities
from recognition.data.mapping import cut_short
from recognition.data.record_checks import RecordChecks, open_checks
from recognition.data.record_format import (
    EXACT_LABELS,
    RECOPY,
    REINDEX,
    REPACK,
    Record,
    RecordError,
    plain_sample,
    read_body,
    read_record,
    record_error,
)
from recognition.data.record_index import MAX_DIGITS, load_index
from recognition.data.record_writer import RecordWriter

__all__ = ["Record", "RecordError", "RecordReader", "RecordWriter", "rec_path"]


PROPERTY_BYTES = 64
NAMES = "identities.txt"  # beside a set: the name of each identity, a line each


def rec_path(text: str) -> Path:
    """The .rec file that a user means by a file or a folder."""
    return Path(text) / "train.rec" if Path(text).is_dir() else Path(text)


class RecordReader:
    """Records of `rec` by key; `idx` is the one beside it unless given, and is rebuilt from the records when missing.

    Reads are slices of one memory map, so threads and forked processes share a reader without locks. Payloads are
    views of the file and stay valid while anyone holds them, also after `close`. `keys` and `offsets` are int64,
    `keys` ascending. RecordError for files that cannot be read, and for all damage in them.

    `checks` are those of `train.crc` (record_checks.py): with them every record that is read is the one that was
    written. None where that file is missing, or with `checked=False`: a flipped bit in an image goes unseen then.
    """

    def __init__(self, rec: str | Path, idx: str | Path | None = None, *, checked: bool = True) -> None:
        self.path = Path(rec)
        self.idx = Path(idx) if idx is not None else self.path.with_suffix(".idx")
        try:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            remedy = "give a .rec file, or the folder with train.rec (launch/records.py pack makes one of pictures)"
            raise RecordError(f"{self.path}: cannot be read ({error.strerror}); {remedy}") from error
        except ValueError as error:
            raise RecordError(f"{self.path}: the file is empty; re-copy it") from error
        self._view = memoryview(self._map)
        try:
            index = load_index(self.path, self.idx, self._view)
            self.keys: np.ndarray = index.keys
            self.offsets: np.ndarray = index.offsets
            self.checks: RecordChecks | None = None
            if checked:
                self.checks = open_checks(self.path, num_records=len(self), num_bytes=self.num_bytes)
        except BaseException:
            self.close()
            raise
        self._checked = checked

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Record]:
        for place, key in enumerate(self.keys):
            yield self._read(place, int(key))

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple:
        return partial(RecordReader, checked=self._checked), (self.path, self.idx)

    def forget_pages(self) -> None:
        """Take what was read so far out of this process's memory; what is read again comes from the file again."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Let go of the file; payloads still held keep their bytes."""
        self._view.release()
        with contextlib.suppress(BufferError):  # someone holds a payload: the map goes with the last of them
            self._map.close()

    def offset(self, key: int) -> int:
        """Byte offset of the record of `key`; RecordError when there is none."""
        return int(self.offsets[self._place(key)])

    def _place(self, key: int) -> int:
        place = key - int(self.keys[0])
        if not (0 <= place < len(self.keys) and self.keys[place] == key):
            place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            known = f"it has {len(self)} keys from {self.keys[0]} to {self.keys[-1]}"
            raise RecordError(f"{self.path}: key {key} is not in the index {self.idx}; {known}")
        return place

    def read(self, key: int) -> Record:
        """The record of `key`; RecordError when it is missing or damaged."""
        key = int(key)
        return self._read(self._place(key), key)

    def _read(self, place: int, key: int) -> Record:
        offset = int(self.offsets[place])
        self._require_whole(key, offset)
        record, after = read_record(self._view, offset, self.path, key)
        if self.checks is not None:
            self.checks.check(self._view[offset:after], place, rec=self.path, key=key, offset=offset)
        return record

    def sample(self, place: int) -> tuple[memoryview | bytes, int]:
        """Payload and label of the record at `place` among all keys; RecordError as `read`, and as `Record.label`."""
        offset = int(self.offsets[place])
        if cut_short(self._map) is None and (plain := plain_sample(self._view, offset)) is not None:
            payload, label, after = plain
            if self.checks is None or self.checks.hold(self._view[offset:after], place, int(self.keys[place])):
                return payload, label
        # What is wrong with it, if anything, is told there.
        record = self._read(place, int(self.keys[place]))
        return record.payload, record.label

    def _require_whole(self, key: int, offset: int) -> None:
        if problem := cut_short(self._map):
            raise record_error(self.path, key, offset, problem, RECOPY)

    def span(self, key: int) -> tuple[int, int]:
        """Byte range [start, stop) of the record of `key`, padding included; RecordError as `read`."""
        key = int(key)
        start = self.offset(key)
        self._require_whole(key, start)
        return start, read_body(self._view, start, self.path, key)[1]

    def frames(self, key: int) -> memoryview:
        """The bytes of `span`, as they lie in the file: frames, parts and padding."""
        start, stop = self.span(key)
        return self._view[start:stop]

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return len(self._view)

    @cached_property
    def has_header(self) -> bool:
        """True for InsightFace's layout: a header at key 0, images, then a record without an image per identity."""
        return self.keys[0] == 0 and self.read(0).is_marker

    @cached_property
    def _image_places(self) -> tuple[int, int]:
        if not self.has_header:
            return 0, len(self)
        header = self.read(0)
        first_identity = float(header.labels[0])
        if not (1 < first_identity <= float(np.float32(self.keys[-1])) + 1):
            problem = f"the header puts identities at key {first_identity:g}, but keys end at {self.keys[-1]}"
            raise record_error(self.path, 0, header.offset, problem, REINDEX)
        stop = int(np.searchsorted(self.keys, int(first_identity)))
        if first_identity < EXACT_LABELS:
            return 1, stop
        # The number was rounded to float32, by less than this: the records around it tell where the images really end.
        reach = int(np.spacing(header.labels[0]))
        for place in range(max(1, stop - reach), min(len(self), stop + reach + 1)):
            if self.read(self.keys[place]).is_marker:
                return 1, place
        problem = f"no identity record is near key {first_identity:.0f}, where the header puts the first"
        raise record_error(self.path, 0, header.offset, problem, REINDEX)

    @property
    def image_keys(self) -> np.ndarray:
        """Keys (int64) of the records with an image, header and identity records left out; a view of `keys`."""
        start, stop = self._image_places
        return self.keys[start:stop]

    @cached_property
    def num_classes(self) -> int | None:
        """Number of identities by the `property` file beside the records, else by the identity records, else None."""
        beside = self.path.with_name("property")
        if beside.exists():
            return read_property(beside)
        return len(self) - self._image_places[1] or None

    def image_labels(self) -> np.ndarray | None:
        """int64 labels of all images, in the order of `image_keys`, without a look at the images themselves.

        From the checks, else from InsightFace's identity records, else None: read the records. RecordError when the
        checks know of an image without a label, and for damage.
        """
        if self.checks is None:
            return labels_by_identities(self, self._view)
        start, stop = self._image_places
        labels = self.checks.labels(self.keys)[start:stop]
        without = np.flatnonzero(labels < 0)
        if len(without):
            record = self.read(self.image_keys[without[0]])
            _ = record.label  # says what is wrong with it, as training would
            raise record.error("it has labels and no image", REPACK)
        return labels


def read_property(path: Path) -> int:
    """Number of classes in a `property` file: `classes,height,width`. RecordError when it does not say one."""
    try:
        with open(path, "rb") as file:
            first = file.read(PROPERTY_BYTES).split(b",")[0].strip().decode("ascii", "replace")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); write `classes,height,width`") from error
    if not first.isdecimal() or len(first) > MAX_DIGITS:
        raise RecordError(f"{path}: {first[:40]!r} is not a number of classes; write `classes,height,width`")
    return int(first)
