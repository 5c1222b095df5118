"""Labels of all images without reading them: from the checks, from identity records, or not at all; and lossy ones."""

import numpy as np
import pytest

from recognition.data import identity_records
from recognition.data.record_checks import write_checks
from recognition.data.recordio import RecordError, RecordReader, RecordWriter
from tests.data.small_records import EXPECTED, LAYOUTS, RECORDS, body, frame, write_files

LARGE = 1 << 24


def identity_set(folder, ranges, labels, *, first_key=1, extra=b"", header=None):
    """InsightFace's layout without checks: one byte for an image; `extra` follows the label rows of identities."""
    count = len(labels)
    with RecordWriter(folder / "train.rec") as writer:
        end = first_key + count
        writer.write(0, b"", [end, float(np.float32(end + len(ranges)))] if header is None else header)
        for key, label in enumerate(labels, first_key):
            writer.write(key, b"i", label)
        for key, (start, stop) in enumerate(ranges, end):
            writer.write(key, b"", [start, float(np.float32(stop)), *extra], id=key)
    (folder / "train.crc").unlink()
    return RecordReader(folder / "train.rec")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_of_what_mxnet_wrote(layout):
    labels = RecordReader(RECORDS / layout / "train.rec").image_labels()
    if layout in ("insightface", "vector_label"):
        assert labels.dtype == np.int64
        assert labels.tolist() == [int(record["label"][0]) for record in EXPECTED[layout]["records"].values()]
    else:
        assert labels is None


@pytest.mark.parametrize("form", ["one array", "three labels each", "far apart", "out of order"])
def test_identities_of_every_form_say_the_labels_of_their_images(form, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 5, 200)
    labels = np.repeat(np.arange(200), counts)
    bounds = 1 + np.concatenate([[0], np.cumsum(counts)])
    reader = identity_set(
        tmp_path, list(zip(bounds.tolist(), bounds[1:].tolist())), labels.tolist(), extra=[9] if "three" in form else []
    )
    if form in ("far apart", "out of order"):
        data, keys, offsets = reader.path.read_bytes(), reader.keys, reader.offsets.copy()
        rows = [bytes(reader.frames(key)) for key in keys[len(labels) + 1 :]]
        data = data[: offsets[len(labels) + 1]]
        if form == "out of order":
            at = np.append(0, 1 + np.random.default_rng(0).permutation(199))
            data += b"".join(rows[place] for place in np.argsort(at))
            offsets[len(labels) + 1 :] = offsets[len(labels) + 1] + 40 * at
        else:
            offsets[len(labels) + 1 :] = offsets[len(labels) + 1] + 44 * np.arange(200)
            data += b"".join(row + b"gap!" for row in rows)
        reader.path.write_bytes(data)
        reader.idx.write_text("".join(f"{key}\t{offset}\n" for key, offset in zip(keys, offsets)))
        reader = RecordReader(reader.path)
    assert reader.checks is None
    usual = identity_records.identity_ranges(reader._view, reader.offsets[len(labels) + 1 :])
    assert (usual is not None) == (form == "one array")
    assert reader.image_labels().tolist() == labels.tolist()
    del usual
    reader.close()
    assert reader._map.closed, "nothing may keep the file open"


@pytest.mark.parametrize(
    ("ranges", "labels"),
    [
        ([(1, 3), (4, 5)], [0, 0, 1, 1]),  # a gap
        ([(1, 4), (3, 5)], [0, 0, 1, 1]),  # an overlap
        ([(2, 3), (3, 5)], [0, 0, 1, 1]),  # starts late
        ([(1, 3), (3, 4)], [0, 0, 1, 1]),  # ends early
        ([(3, 5), (1, 3)], [1, 1, 0, 0]),  # not in order
        ([(1, 5), (5, 3), (3, 5)], [0, 0, 0, 0]),  # not in order, though one begins where another ends
        ([(1, 3), (-3, 5)], [0, 0, 1, 1]),
        ([(1, 3), (3.5, 5)], [0, 0, 1, 1]),
    ],
)
def test_identities_that_do_not_cover_the_images_once_and_in_order_say_nothing(ranges, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(identity_records, "IMAGES_ASKED", 0)  # who would say so, too, of sets as small as these
    assert identity_set(tmp_path, ranges, labels).image_labels() is None


@pytest.mark.parametrize("labels", [[0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 0, 0]])
def test_images_are_asked_whether_the_identities_are_right(labels, tmp_path):
    assert identity_set(tmp_path, [(1, 3), (3, 5)], labels).image_labels() is None


def test_a_damaged_image_is_not_asked(tmp_path):
    reader = identity_set(tmp_path, [(1, 3), (3, 5)], [0, 0, 1, 1])
    data = bytearray(reader.path.read_bytes())
    data[reader.offset(1)] ^= 1
    reader.path.write_bytes(data)
    reader = RecordReader(reader.path)
    with pytest.raises(RecordError):
        reader.read(1)
    assert reader.image_labels().tolist() == [0, 0, 1, 1]


def test_images_among_the_identities_and_no_identities_at_all_say_nothing(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"", [3, 4])
        for key in (1, 2, 3):
            writer.write(key, b"i", [0, 0])
    (tmp_path / "a.crc").unlink()
    assert RecordReader(tmp_path / "a.rec").image_labels() is None
    assert identity_set(tmp_path, [], [0, 0]).image_labels() is None
    with RecordWriter(tmp_path / "b.rec") as writer:
        writer.write(0, b"", [2, 4])
        writer.write(1, b"i", 0)
        writer.write(2, np.array([1, 2], "<f4").tobytes(), 0)  # as long as an identity record, and says the same
        writer.write(3, b"", [2, 2])
    (tmp_path / "b.crc").unlink()
    assert RecordReader(tmp_path / "b.rec").image_labels() is None


@pytest.mark.parametrize(
    ("at", "message"), [(0, "no record begins"), (4, "2 labels are announced, which do not fit in 28 bytes")]
)
def test_a_damaged_identity_record_is_an_error(at, message, tmp_path):
    reader = identity_set(tmp_path, [(1, 2), (2, 3)], [0, 1])
    offset = reader.offset(4)
    data = bytearray(reader.path.read_bytes())
    data[offset + at] = 28
    reader.path.write_bytes(data)
    with pytest.raises(RecordError, match=f"train.rec key 4 at offset {offset}: {message}"):
        RecordReader(reader.path).image_labels()


@pytest.mark.parametrize("exact", [True, False])
def test_keys_above_2_to_the_24_need_their_exact_number(exact, tmp_path, monkeypatch):
    monkeypatch.setattr(identity_records, "IMAGES_ASKED", 0)
    first_key = LARGE - 1  # images LARGE - 1 .. LARGE + 4; identities of two, two and two
    ranges = [(first_key, first_key + 2), (first_key + 2, first_key + 4), (first_key + 4, first_key + 6)]
    reader = identity_set(tmp_path, ranges, [0, 0, 1, 1, 2, 2], first_key=first_key)
    if not exact:  # where id2 is about something else
        data = bytearray(reader.path.read_bytes())
        offset = reader.offset(first_key + 7)
        data[offset + 24 : offset + 32] = (first_key + 3).to_bytes(8, "little")
        reader.path.write_bytes(data)
        reader = RecordReader(reader.path)
    labels = reader.image_labels()
    assert labels.tolist() == [0, 0, 1, 1, 2, 2] if exact else labels is None


# --- labels that float32 rounded --------------------------------------------------------------------------------------


def label_file(folder, labels, *, classes=None):
    """Records as MXNet writes them: the label as float32 alone."""
    frames = [frame(body(float(np.float32(label)))) for label in labels]
    index = "".join(f"{key}\t{36 * key}\n" for key in range(len(frames)))
    if classes:
        (folder / "property").write_text(f"{classes},112,112")
    return RecordReader(write_files(folder, b"".join(frames), index.encode()))


def test_a_rounded_label_is_an_error_once_there_are_checks(tmp_path):
    reader = label_file(tmp_path, [0, LARGE + 1], classes=LARGE + 2)
    assert reader.image_labels() is None
    write_checks(reader)
    with pytest.raises(RecordError, match="key 1 at offset 36: label 16777216 may be rounded"):
        RecordReader(reader.path).image_labels()


def test_our_own_large_labels_are_exact(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"x", LARGE + 1)
        writer.write(1, b"x", (1 << 31) + 1)
    (tmp_path / "property").write_text(f"{1 << 32},112,112")
    reader = RecordReader(tmp_path / "a.rec")
    assert reader.image_labels().tolist() == [LARGE + 1, (1 << 31) + 1]


@pytest.mark.parametrize("text", [b"many", b"9" * 5000, b"\xd9\xa3,112,112", b"", b"-3,112,112", b"x" * (1 << 20)])
def test_a_property_that_is_no_number_is_refused(text, tmp_path):
    reader = label_file(tmp_path, [0, 1])
    (tmp_path / "property").write_bytes(text)
    with pytest.raises(RecordError, match=r"property: '.{0,40}' is not a number of classes"):
        _ = reader.num_classes


def test_a_property_that_cannot_be_read(tmp_path):
    reader = label_file(tmp_path, [0, 1])
    (tmp_path / "property").mkdir()
    with pytest.raises(RecordError, match="property: cannot be read"):
        _ = reader.num_classes
