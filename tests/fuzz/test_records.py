"""A thousand of the damaged sets, and what the fuzz says of a reader whose guards are gone."""

from __future__ import annotations

import re

import numpy as np
import pytest

from recognition.data import decode, record_format, recordio
from recognition.data.record_checks import RecordChecks
from recognition.data.record_format import FRAME, HEADER, Record, RecordError
from tests.fuzz import records
from tests.fuzz.damage import KINDS_OF_DAMAGE
from tests.fuzz.records import fuzz


def test_a_thousand_damaged_sets_are_refused_or_read_with_every_image_accounted_for():
    counts = fuzz(0, range(1000), jobs=2)
    assert counts.failures == []
    assert counts.cases == 1000
    assert counts.yielded + counts.reported == counts.total
    # The damage is of every kind, and neither harmless nor so bad that nothing is left to read.
    assert len(counts.kinds) == len(KINDS_OF_DAMAGE)
    assert min(counts.kinds.values()) > 5
    assert 200 < counts.refused < 600
    assert counts.reported > 1000
    assert counts.yielded > 5000


def no_end_of_file(view, at, path, key, offset):
    """read_frame without the checks of the file's end and of the magic."""
    start = at + FRAME.size
    word = FRAME.unpack_from(view, at)[1]
    return word >> 29, start, start + (word & record_format.MAX_BYTES)


def labels_first(body, offset, path, key):
    """parse_body with room made for the labels before it is known that they are there."""
    flag, label, id_, id2 = HEADER.unpack_from(body)
    labels = np.full(max(1, flag), label, np.float32)
    labels[:flag] = np.frombuffer(body, np.float32, min(flag, len(body) // 4 - 6), 24)
    return Record(key, labels, id_, id2, body[HEADER.size + 4 * flag :], path, offset)


def read_property(path):
    """read_property without a limit or a check."""
    return int(path.read_text().split(",")[0])


# The guard that is gone, what stands in its place, and how the fuzz finds out, in so many cases.
BROKEN = {
    "checks not looked at": (RecordChecks, "check", lambda *_, **__: None, "its checks were silent", 100),
    "checks of the checks": (RecordChecks, "labels", lambda self, _: self._labels, "the checks were silent", 600),
    "labels of any size": (Record, "label_below", lambda self, _: self.label, r"Wrong: label \d+ of image", 400),
    "frames not looked at": (record_format, "read_frame", no_end_of_file, "struct.error|MemoryError", 200),
    "labels allocated first": (record_format, "parse_body", labels_first, "MemoryError", 200),
    "errors of Pillow let through": (decode, "PILLOW_ERRORS", (), "OSError|SyntaxError|ValueError", 200),
    "errors that say nothing": (record_format, "record_error", lambda *_: RecordError("bad"), "does not say what", 100),
    "property read as it comes": (recordio, "read_property", read_property, "ValueError", 200),
    "no time at all": (records, "CPU_S", 0.0, r"took 0\.0 s", 20),
}


@pytest.mark.parametrize("guard", BROKEN)
def test_a_reader_without_this_guard_is_found_out(guard, monkeypatch):
    owner, attribute, instead, words, cases = BROKEN[guard]
    monkeypatch.setattr(owner, attribute, instead)
    counts = fuzz(0, range(cases), jobs=2)
    assert any(re.search(words, failure) for _, failure in counts.failures), counts.failures


def test_images_that_are_passed_over_are_found_out(monkeypatch):
    monkeypatch.setattr(records, "_errors", lambda *_, **__: iter(()))
    with pytest.raises(records.Wrong, match="images are missing: {'total': 24, 'yielded': 0, 'reported': 0}"):
        fuzz(0, [])
