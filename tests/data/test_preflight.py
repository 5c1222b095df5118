"""What a look at a training set finds, on sets made to be found out; against counts by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from recognition.data import preflight as module
from recognition.data.preflight import preflight
from recognition.data.recordio import RecordWriter
from recognition.data.sources import JoinedSource, RecordSource, Sample, SyntheticSource, open_source
from recognition.errors import InputError
from recognition.spread import spread
from tests.conftest import FIXTURES
from tests.pictures import jpeg

RECORDS = FIXTURES / "recordio" / "insightface"


class Labelled:
    """Pictures of 16 px with these labels, `bad` ones torn; `known`: whether labels can be had without pictures."""

    def __init__(self, labels, *, num_classes, bad=(), known=True):
        self.given, self.num_classes, self.bad, self.known = np.array(labels), num_classes, bad, known
        self.read_ids = []

    def __len__(self):
        return len(self.given)

    def labels(self):
        return self.given if self.known else None

    def read(self, index):
        assert isinstance(index, int)
        self.read_ids.append(index)
        if index in self.bad:
            raise InputError(f"{self.describe(index)}: torn; tape it")
        return Sample(np.zeros((16, 16, 3), np.uint8), int(self.given[index]))

    def describe(self, index):
        return f"picture {index}"


def look(source, **options):
    return preflight(source, image_size=16, **options)


def test_a_sound_set_has_facts_and_no_remarks():
    found = look(Labelled([0, 0, 0, 1, 2, 2], num_classes=3))
    assert found.remarks == []
    assert found.facts == {
        "images": 6,
        "classes": 3,
        "labels": "of all images",
        "images of a class": "1 to 3, median 2",
        "classes without images": 0,
        "images decoded": 6,
        "of these not readable": 0,
    }
    assert str(found).startswith("images: 6, classes: 3, labels: of all images, images of a class: 1 to 3, median 2,")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3], r"^picture 2: label 3 is outside the 3 classes; set num_classes to at least 4, or pack"),
        ([0, 1, 5], r"^picture 2: label 5 is outside the 3 classes; set num_classes to at least 6, or pack"),
        ([0, -1, 2], r"^picture 1: label -1 is outside the 3 classes; set num_classes to at least 3, or pack"),
        (
            [0, 3, -2, 9],
            r"^picture 1: label 3 is outside the 3 classes, as are 2 more labels of -2 to 9; set .* 10, or",
        ),
    ],
)
def test_labels_outside_the_classes_are_named(labels, message):
    source = Labelled(labels, num_classes=3)
    with pytest.raises(InputError, match=message):
        look(source)
    assert source.read_ids == []  # known before a picture is read


def test_so_many_may_be_outside_as_bad_records_are_tolerated():
    source = Labelled([0, 3, -2, 1, 1], num_classes=3)
    with pytest.raises(InputError, match="label 3 is outside"):
        look(source, tolerated=1)
    found = look(source, tolerated=2)
    assert found.remarks[0].startswith(
        "picture 1: label 3 is outside the 3 classes, as are 1 more labels of -2 to 3; such"
    )
    assert found.facts["labels"] == "of all images, 2 outside the classes"
    assert found.facts["images of a class"] == "0 to 2, median 1"
    assert "1 of 3 classes have no image: 2; " in found.remarks[1]


def test_classes_without_images_are_counted_and_the_first_named():
    found = look(Labelled([1, 3, 3, 11], num_classes=12))
    assert found.facts["classes without images"] == 9
    assert found.remarks == [
        "9 of 12 classes have no image: 0, 2, 4, 5, 6, ...; their centres are trained as wrong answers only"
    ]


def test_one_torn_picture_is_its_own_error_and_several_are_counted():
    with pytest.raises(InputError, match=r"^picture 3: torn; tape it; on_bad_record=skip trains without such images$"):
        look(Labelled([0, 1] * 5, num_classes=2, bad={3}))
    with pytest.raises(InputError, match=r"^picture 3: torn; tape it \(and 2 more of the 10 images looked at\); on_b"):
        look(Labelled([0, 1] * 5, num_classes=2, bad={3, 5, 9}))


@pytest.mark.parametrize(("bad", "tolerated"), [({0, 3, 5, 7, 9}, 0), ({0, 3}, 1)])
def test_skipping_is_not_offered_for_a_set_of_bad_pictures_nor_twice(bad, tolerated):
    with pytest.raises(InputError, match=r"images looked at\)$"):
        look(Labelled([0, 1] * 5, num_classes=2, bad=bad), tolerated=tolerated)


def test_torn_pictures_that_are_tolerated_are_listed():
    with pytest.raises(InputError, match=r"^picture 3: torn"):
        look(Labelled([0, 1] * 5, num_classes=2, bad={3, 5}), tolerated=1)
    found = look(Labelled([0, 1] * 5, num_classes=2, bad={3, 5}), tolerated=2)
    assert found.facts["of these not readable"] == 2
    assert found.remarks == [
        "2 of 10 images looked at cannot be read: picture 3: torn; tape it; picture 5: torn; tape it"
    ]


def test_more_in_the_sample_than_the_set_may_have_in_proportion_is_a_remark(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 10)
    sample = spread(1000, 10)
    found = look(Labelled([0, 1] * 500, num_classes=2, bad=set(sample[2:3].tolist())), tolerated=99)
    assert found.remarks[1].startswith(
        "if the others are like them, more than the 99 bad records that bad_record_share"
    )
    assert len(look(Labelled([0, 1] * 500, num_classes=2, bad=set(sample[2:3].tolist())), tolerated=100).remarks) == 1


def test_a_picture_of_another_size_is_found():
    with pytest.raises(
        InputError, match=r"^picture 0: the image is 16x16 pixels, 32x32 is expected.*and 3 more of the 4"
    ):
        preflight(Labelled([0, 1, 0, 1], num_classes=2), image_size=32)


@pytest.mark.parametrize("known", [True, False])
def test_few_pictures_are_read_of_a_large_set_first_and_last_among_them(known):
    source = Labelled(np.arange(100_000) % 50, num_classes=50, known=known)
    found = look(source)
    assert found.facts["images decoded"] == len(source.read_ids) == 256
    ids = sorted(source.read_ids)
    assert (ids[0], ids[-1]) == (0, 99_999)
    gaps = np.diff(ids)
    assert (gaps.min(), gaps.max()) == (392, 393)


def test_labels_that_are_not_known_are_told():
    found = look(Labelled([0, 0, 0], num_classes=2, known=False))
    assert found.facts["labels"] == "those of 3 images"
    assert found.remarks[0].startswith("labels are stored with the images alone: only those of 3 were looked at")
    assert "classes without images" not in found.facts


def packed(path, labels, *, checks=False):
    """A record file without header, with such labels, and with checksums if asked for."""
    path.mkdir(exist_ok=True)
    with RecordWriter(path / "train.rec") as writer:
        for key, label in enumerate(labels):
            writer.write(key, jpeg(key), float(label))
    if not checks:
        (path / "train.crc").unlink()
    return path / "train.rec"


def test_records_without_checksums_are_unchecked(tmp_path):
    rec = packed(tmp_path / "bare", [0, 1, 1])
    found = look(open_source(rec, num_classes=2))
    assert (found.facts["checksums"], found.facts["labels"]) == ("unchecked", "those of 3 images")
    assert [text for text in found.remarks if "unchecked" in text] == [
        f"{rec}: unchecked: it has no train.crc, so a picture with a flipped bit may pass as sound; "
        f"launch/records.py verify --write-checks makes one"
    ]
    found = look(open_source(packed(tmp_path / "checked", [0, 1, 1], checks=True), num_classes=2))
    assert (found.facts["checksums"], found.facts["labels"]) == ("of every record", "of all images")
    assert found.remarks == []


def test_unchecked_files_among_those_of_one_set_are_counted(tmp_path):
    recs = [packed(tmp_path / name, [0, 1], checks=name == "a") for name in "abc"]
    source = JoinedSource([RecordSource(rec, num_classes=2) for rec in recs], apart=False)
    found = look(source)
    assert found.facts["checksums"] == "2 files unchecked"
    assert any(
        text.startswith(f"{recs[1]}: unchecked: it has no train.crc (nor have 1 files more), so")
        for text in found.remarks
    )


def test_labels_of_identity_records_are_enough():
    facts = preflight(open_source(RECORDS), image_size=112).facts
    assert (facts["images"], facts["labels"], facts["images of a class"]) == (24, "of all images", "4 to 4, median 4")


def test_drawn_faces_may_be_fewer_than_their_classes():
    assert look(SyntheticSource(num_classes=7, num_image=5, image_size=16)).facts["classes without images"] == 2


def test_large_labels_are_reported_and_a_rounded_one_is_found_by_reading(tmp_path):
    exact = 2**24 + 1
    rec = packed(tmp_path, [0, exact])
    source = RecordSource(rec, num_classes=exact + 1)
    source.reader.image_labels = lambda: np.array([0, exact])
    found = look(source)
    assert found.facts["labels above 2^24"] == 1
    assert any(text.startswith("1 labels are 16777216 or more, which float32 rounds") for text in found.remarks)
    # The same without the exact number in id2, as other writers leave it: 2^24 + 1 is nowhere in the file.
    data = rec.read_bytes()
    where = data.rindex(exact.to_bytes(8, "little"))
    rec.write_bytes(data[:where] + bytes(8) + data[where + 8 :])
    source = RecordSource(rec, num_classes=exact + 1)
    source.reader.image_labels = lambda: np.array([0, exact])
    with pytest.raises(InputError, match=r"train\.rec key 1 at offset \d+: label 16777216 may be rounded"):
        look(source)


def test_each_large_label_may_be_in_the_sample_however_few_there_are(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 3)
    monkeypatch.setattr(module, "EXACT_LABELS", 40)
    labels = np.arange(100) % 40
    labels[[17, 44]] = 40
    source = Labelled(labels, num_classes=41)
    look(source)
    assert sorted(source.read_ids) == [0, 17, 44, 50, 99]


def test_tens_of_millions_of_labels_cost_one_pass():
    # Not a matter of the clock: pictures read stay as many, and what is allocated is a few arrays of the labels' size.
    import tracemalloc

    labels = np.repeat(np.arange(200_000, dtype=np.int64), 10)
    source = SimpleNamespace(labels=labels, num_classes=200_000, describe=str)
    tracemalloc.start()
    module._look_at_labels(source, labels, found := module.Preflight(), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.facts["images of a class"] == "10 to 10, median 10"
    assert peak < labels.nbytes
