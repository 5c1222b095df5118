"""InsightFace's layout by hand: the records around the images, read as MXNet's own reader would."""

import struct

import numpy as np
import pytest

from recognition.data.recordio import RecordReader, RecordWriter
from recognition.records.layout import LayoutWriter, without_images
from recognition.records.verifying import verify
from tests.pictures import jpeg


def write_layout(rec, images, classes):
    with RecordWriter(rec) as writer:
        layout = LayoutWriter(writer, classes)
        for label, image in images:
            layout.add(label, image)
        layout.finish()
    return layout


def test_header_and_identities_point_at_the_images_also_where_there_are_none(tmp_path):
    images = [(1, jpeg(1)), (1, jpeg(2)), (3, jpeg(3))]
    layout = write_layout(tmp_path / "train.rec", images, 5)
    assert layout.counts_C.tolist() == [0, 2, 0, 1, 0]
    with RecordReader(tmp_path / "train.rec") as reader:
        rows = [reader.read(key).labels.tolist() for key in (0, 4, 5, 6, 7, 8)]
        assert rows == [[4, 9], [1, 1], [1, 3], [3, 3], [3, 4], [4, 4]]
        assert [(reader.read(key).label, bytes(reader.read(key).payload)) for key in (1, 2, 3)] == images
        assert reader.image_labels().tolist() == [1, 1, 3]
        assert reader.num_classes == 5
    # The header is where a reader without an index looks for it: in the first bytes of the file.
    data = (tmp_path / "train.rec").read_bytes()
    assert struct.unpack("<IIIfQQff", data[:40]) == (0xCED7230A, 32, 2, 0.0, 0, 0, 4.0, 9.0)
    assert verify(tmp_path / "train.rec").problems == []
    (tmp_path / "train.crc").unlink()
    with RecordReader(tmp_path / "train.rec") as reader:
        assert reader.image_labels().tolist() == [1, 1, 3]


def test_images_of_an_identity_lie_together(tmp_path):
    with pytest.raises(ValueError, match="label 0 comes after label 1"):
        write_layout(tmp_path / "train.rec", [(1, jpeg(1)), (0, jpeg(2))], 2)
    assert list(tmp_path.iterdir()) == []


def test_the_remark_on_identities_without_images():
    counts_C = np.array([0, 1, 0, 0, 0, 0, 0])
    assert without_images(counts_C, None) == (
        "6 of 7 identities have no image: 0, 2, 3, 4, 5, ...; they keep their labels",
    )
    assert without_images(counts_C[1:2], None) == ()
