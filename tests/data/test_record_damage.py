"""Every kind of damage that the format itself shows is named, with file, key and offset; tests/fuzz does the rest."""

import pytest

from recognition.data.recordio import RecordError, RecordReader
from tests.data.small_records import body, frame, write_files

WHOLE = frame(body())
DAMAGED = {
    "cut in the payload": (WHOLE[:-4], "past the end of the file"),
    "cut in the frame": (WHOLE[:6], "the file ends at 42"),
    "bad magic": (b"x" + WHOLE[1:], "no record begins at 36"),
    "short header": (frame(body()[:20]), "20 bytes are too few for the label header"),
    "labels do not fit": (frame(body(flag=2)), "2 labels are announced.*28 bytes"),
    "absurd label count": (frame(body(flag=0xFFFFFFFF)), "4294967295 labels are announced"),
    "starts in the middle": (frame(body(), 2), "part flag is 2: part of a split record"),
    "unknown part flag": (frame(body(), 5), "part flag is 5: unknown"),
    "chain without end": (frame(body(), 1), "the file ends at"),
    "chain broken by a record": (frame(body(), 1) + WHOLE, "lacks its last part"),
    "chain begun twice": (frame(body(), 1) + frame(body(), 1), "lacks its last part"),
    "odd part": (frame(body(payload=b"abc"), 1) + frame(b"", 3), "not a multiple of 4"),
    "NaN label": (frame(body(float("nan"))), "label nan is not a class"),
    "negative label": (frame(body(-1.0)), "label -1 is not a class"),
    "fractional label": (frame(body(1.5)), "label 1.5 is not a class"),
    "infinite label": (frame(body(float("inf"))), "label inf is not a class"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_file_key_and_offset(name, tmp_path):
    data, message = DAMAGED[name]
    rec = write_files(tmp_path, WHOLE + data, b"5\t0\n17\t%d\n" % len(WHOLE))
    with RecordReader(rec) as reader:
        assert reader.read(5).label == 0
        where = rf"train\.rec key 17 at offset {len(WHOLE)}: "
        with pytest.raises(RecordError, match=where + f".*{message}.*; .*(re-copy|pack)") as raised:
            _ = reader.read(17).label
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["table.csv", "train.rec", "train.idx"])
def test_what_is_no_record_file_is_called_so(name, tmp_path):
    """No index is blamed where none lies beside the file, nor where the file is the index itself."""
    (tmp_path / name).write_text("0\t0\n")
    with pytest.raises(RecordError, match=f"{name}: does not begin as a record file does; give a .rec file"):
        RecordReader(tmp_path / name)


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read .No such file"), (b"", "the file is empty")])
def test_missing_and_empty_file(content, message, tmp_path):
    if content is not None:
        write_files(tmp_path, content)
    with pytest.raises(RecordError, match=message):
        RecordReader(tmp_path / "train.rec")
