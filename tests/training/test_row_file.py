"""Rows on a disk that fills up: none is lost that finds room later, and none is ever half there."""

import json
import resource

from recognition.training.row_file import RowFile
from tests.ranks import run_ranks


def write_while_full(runtime, path):
    """Ten rows, of which the disk takes three and a half before it has room again for the last two."""
    rows = [{"step": step, "text": "x" * 50} for step in range(10)]
    size = len(json.dumps(rows[0])) + 1
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    seen = []
    with RowFile(path) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size + size // 2, most))
        for step, row in enumerate(rows):
            if step == 8:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            file.append(row)
            seen.append(path.read_text())
    return rows, seen


def test_rows_wait_for_room_and_are_never_half_there(tmp_path):
    ((rows, seen),) = run_ranks(write_while_full, 1, tmp_path / "rows.jsonl")
    counts = [len([json.loads(line) for line in text.splitlines()]) for text in seen]
    assert counts == [1, 2, 3, 3, 3, 3, 3, 3, 9, 10]
    assert [json.loads(line) for line in seen[-1].splitlines()] == rows


def test_it_goes_on_where_an_earlier_run_ended(tmp_path):
    for step in range(2):
        with RowFile(tmp_path / "rows.jsonl") as file:
            file.append({"step": step})
    assert (tmp_path / "rows.jsonl").read_text() == '{"step": 0}\n{"step": 1}\n'


def test_rows_that_never_found_room_are_counted(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr("recognition.training.row_file.LOG.warning", lambda text, *values: texts.append(text % values))
    (tmp_path / "rows.jsonl").symlink_to("/dev/full")
    with RowFile(tmp_path / "rows.jsonl") as file:
        for step in range(3):
            monkeypatch.setattr("os.ftruncate", lambda *_: None)
            file.append({"step": step})
    assert len(texts) == 2
    assert "No space left on device" in texts[0]
    assert texts[1].endswith("3 row(s) found no room on the disk")
