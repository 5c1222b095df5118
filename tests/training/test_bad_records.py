"""Runs over sets with bad records: what each rank sees, what is counted and listed, when it is too much; resumes."""

import csv
import itertools
import json
import shutil

import pytest

from recognition.data import preflight
from recognition.data.loader import Batch
from recognition.data.recordio import RecordReader
from recognition.data.substitutes import BadRecord
from recognition.errors import InputError
from recognition.log import LOG
from recognition.records.packing import pack_folder
from recognition.runtime import Runtime
from recognition.training.bad_records import BadRecords, tolerated_records
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.training.plan import Progressed
from recognition.training.state import progressed_of
from tests.data.test_substitutes import shown_by_hand
from tests.pictures import write_people
from tests.ranks import run_ranks
from tests.training.linear_backbone import config
from tests.training.small_runs import digests, small, unreported, watched

# Places in a folder of 4 people with 10 pictures each: one lacks its end, one is no picture at all.
TORN = {9: "p0/9.png", 22: "p2/2.png"}
SKIP = ("on_bad_record=skip", "bad_record_share=0.05")  # 2 of 40


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = write_people(tmp_path_factory.mktemp("people"), {f"p{n}": 10 for n in range(4)}, size=32, suffix=".png")
    data = (folder / TORN[9]).read_bytes()
    (folder / TORN[9]).write_bytes(data[: len(data) // 2])
    (folder / TORN[22]).write_bytes(b"no picture")
    return folder


@pytest.fixture(autouse=True)
def looks_at_one_picture(monkeypatch):
    """The preflight of sets so small would find all that is bad in them."""
    monkeypatch.setattr(preflight, "SAMPLE", 1)


def of_people(folder, people, world, *overrides):
    """6 steps of 12 images on any number of ranks, nearly two epochs."""
    data = (f"rec={people}", "num_classes=None", "num_image=None", f"batch_size={12 // world}", "num_epoch=2")
    return small(folder, *data, "max_steps=None", "checkpoint_keep=99", *overrides)


def run(runtime, folder, people, *overrides):
    """Train; what this rank saw in each step: ids shown, labels."""
    with watched() as steps:
        train(of_people(folder, people, runtime.world, *overrides), runtime)
    return [(step.ids.tolist(), step.batches[0].labels_B.tolist()) for step in steps]


def run_to_an_error(runtime, folder, people, *overrides):
    """What ended the run on this rank."""
    try:
        train(of_people(folder, people, runtime.world, *overrides), runtime)
    except InputError as error:
        return str(error)
    return None


def listed(run_dir):
    with open(run_dir / "bad_records.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_all_ranks_take_all_steps_with_the_same_substitutes(tmp_path, people, world, num_workers):
    with unreported():
        ranks = run_ranks(run, world, tmp_path, people, *SKIP, f"num_workers={num_workers}", "frequent=4")
    assert [len(steps) for steps in ranks] == [6] * world
    for step, parts in enumerate(zip(*ranks)):
        ids, labels = (list(itertools.chain(*values)) for values in zip(*parts))
        assert ids == shown_by_hand(12 * step, 12, bad=set(TORN), seed=2048)[0]
        assert labels == [index // 10 for index in ids]
    rows = listed(tmp_path / "run")
    assert [(row["index"], row["place"]) for row in rows] == [(str(i), f"{people}/{TORN[i]}") for i in TORN]
    assert rows[0]["reason"].startswith("not a readable image (")
    assert rows[1]["reason"].startswith("not a readable image (unknown format)")
    metrics = read_rows(tmp_path / "run", "bad_record")
    records = [record for row in metrics for record in row["records"]]
    assert [{**record, "index": str(record["index"])} for record in sorted(records, key=lambda r: r["index"])] == rows
    assert metrics[-1]["count"] == 2
    log = (tmp_path / "run" / "training.log").read_text()
    for row in rows:
        assert log.count(f"bad record, another is shown in its place: {row['place']}: {row['reason']}") == 1


def test_a_damaged_record_of_a_record_file_does_not_stop_two_ranks(tmp_path):
    write_people(tmp_path / "people", {f"p{n}": 10 for n in range(4)}, size=32)
    pack_folder(tmp_path / "people", tmp_path / "set", image_size=32)
    rec = tmp_path / "set" / "train.rec"
    with RecordReader(rec) as reader:
        offset = reader.offset(13)
    data = bytearray(rec.read_bytes())
    data[offset] ^= 1
    rec.write_bytes(data)
    with unreported():
        ranks = run_ranks(run, 2, tmp_path, tmp_path / "set", *SKIP)
    assert [len(steps) for steps in ranks] == [6, 6]
    (row,) = listed(tmp_path / "run")
    assert (row["index"], row["place"]) == ("12", f"{rec} key 13 at offset {offset}")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_more_than_the_share_end_all_ranks_with_the_first_of_them(tmp_path, people, world):
    # Half of 1 in 40, rounded up: one may be bad. The second ends the run at the next line of the log.
    errors = run_ranks(
        run_to_an_error, world, tmp_path, people, "on_bad_record=skip", "bad_record_share=0.0125", "frequent=2"
    )
    assert len(set(errors)) == 1
    assert errors[0].startswith(
        f"{people}: 2 of 40 records cannot be read, more than the 1 that bad_record_share=0.0125 allows; restore the "
        f"set, or raise bad_record_share; {tmp_path}/run/bad_records.csv lists them: {people}/{TORN[9]}: not a readable"
    )
    assert [row["index"] for row in listed(tmp_path / "run")] == ["9", "22"]
    # Both are met in the first 40 positions: steps 1 to 4. With two bad ones the run would have had 6.
    assert read_rows(tmp_path / "run", "train")[-1]["step"] <= 4


def test_none_are_tolerated_at_a_share_of_0(tmp_path, people):
    with pytest.raises(InputError, match="more than the 0 that bad_record_share=0 allows"):
        run(Runtime(), tmp_path, people, "on_bad_record=skip", "bad_record_share=0")


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_in_turns_counts_as_one_in_one_go(tmp_path, people, world):
    with unreported():
        run_ranks(run, world, tmp_path / "whole", people, *SKIP, "frequent=99")
        for steps in (2, 3, 6):
            run_ranks(run, world, tmp_path / "parts", people, *SKIP, "frequent=99", f"max_steps={steps}")
    assert digests(tmp_path / "parts" / "run", 6) == digests(tmp_path / "whole" / "run", 6)
    assert listed(tmp_path / "parts" / "run") == listed(tmp_path / "whole" / "run")
    rows = read_rows(tmp_path / "parts" / "run", "bad_record")
    assert sorted(record["index"] for row in rows for record in row["records"]) == [9, 22]
    assert [row["count"] for row in rows][-1] == 2


def test_what_a_checkpoint_does_not_know_is_met_again_and_listed_once(tmp_path, people):
    options = (*SKIP, "frequent=99", "checkpoint_steps=1")
    with unreported():
        run(Runtime(), tmp_path, people, *options)
        run_dir = tmp_path / "run"
        expected = (listed(run_dir), digests(run_dir, 6))
        rows = read_rows(run_dir, "bad_record")
        met = {record["index"]: row["step"] for row in rows for record in row["records"]}
        first, second = sorted(met.values())
        # Noted at the step that met it, though no line of the log was due: a checkpoint was.
        assert second > first > 1
        # As after a crash that took the newer checkpoints with it, the list and the rows being those of the whole run.
        for step in range(first, 7):
            shutil.rmtree(run_dir / "checkpoints" / f"step-{step:08d}")
        run(Runtime(), tmp_path, people, *options)
    assert (listed(run_dir), digests(run_dir, 6)) == expected
    assert read_rows(run_dir, "bad_record") == rows


def test_a_run_that_a_bad_record_ended_goes_on_when_told_to_skip_it(tmp_path, people):
    with unreported():
        run(Runtime(), tmp_path / "whole", people, *SKIP)
        with pytest.raises(InputError, match=r"^.*/p\d/\d\.png: not a readable image"):
            run(Runtime(), tmp_path / "parts", people, "checkpoint_steps=1")
        before = len(list((tmp_path / "parts" / "run" / "checkpoints").glob("step-*")))
        steps = run(Runtime(), tmp_path / "parts", people, *SKIP)
    assert before >= 1
    assert len(steps) == 6 - before
    assert digests(tmp_path / "parts" / "run", 6) == digests(tmp_path / "whole" / "run", 6)
    assert listed(tmp_path / "parts" / "run") == listed(tmp_path / "whole" / "run")


def test_a_checkpoint_of_an_earlier_version_knows_of_none():
    document = {"step": 3, "samples": 36, "best": None, "losses": [1.5]}
    assert progressed_of(document) == Progressed(3, 36, None, (1.5,))


def test_the_report_lists_them(tmp_path, people):
    run(Runtime(), tmp_path, people, *SKIP)
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert [(row["index"], row["place"]) for row in report["bad_records"]] == [(i, f"{people}/{TORN[i]}") for i in TORN]
    assert report["models"][0]["data_check"]["images"] == 40
    for page in ("index.html", "report.md"):
        text = (tmp_path / "run" / "report" / page).read_text()
        assert "2 records of the training set could not be read" in text
        assert f"{people}/{TORN[22]}" in text


def test_a_sound_set_leaves_no_list_and_the_same_run(tmp_path):
    with unreported():
        for name, overrides in (("raise", ()), ("skip", SKIP)):
            train(small(tmp_path / name, *overrides), Runtime())
    assert digests(tmp_path / "raise" / "run", 4) == digests(tmp_path / "skip" / "run", 4)
    assert not (tmp_path / "skip" / "run" / "bad_records.csv").exists()


@pytest.mark.parametrize(
    ("share", "images", "expected"),
    [(1e-4, 1, 1), (1e-4, 10_000, 1), (1e-4, 10_001, 2), (1e-4, 42_474_558, 4248), (0.07, 100, 7), (0.0, 100, 0)],
)
def test_the_share_is_rounded_up_to_whole_records(share, images, expected):
    options = {"num_image": images, "bad_record_share": share}
    assert tolerated_records(config(on_bad_record="skip", **options)) == expected
    assert tolerated_records(config(**options)) == 0


class Rows(list):
    """Stands for MetricsWriter and keeps what it is given."""

    def write(self, kind, step, **values):
        self.append((kind, step, values))


def batch(*indices):
    bad = tuple(BadRecord(index, f"place {index}", "torn") for index in indices)
    return Batch(None, None, None, None, 0.0, bad)


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(LOG, "propagate", True)
    return caplog


def test_each_is_told_once_and_of_many_only_the_first(tmp_path, log):
    rows = Rows()
    cfg = config(on_bad_record="skip", num_image=100, bad_record_share=0.5)
    records = BadRecords(tmp_path, cfg, Runtime(), rows)
    records.after_step(1, [batch(4, 5), batch(4)], meet=False)
    assert (rows, records.listed) == ([], ())
    records.after_step(2, [batch(5)], meet=True)
    records.after_step(3, [batch(4, 5)], meet=True)
    records.after_step(4, [batch(*range(1, 20))], meet=True)
    assert [(kind, step, values["count"]) for kind, step, values in rows] == [
        ("bad_record", 2, 2),
        ("bad_record", 4, 19),
    ]
    assert [record.index for record in records.listed] == list(range(1, 20))
    places = [line.split(": ")[1] for line in log.messages if line.startswith("bad record")]
    assert places == [f"place {index}" for index in (4, 5, 1, 2, 3, 6, 7)]
    assert log.messages[-1] == "... and 12 more bad records since they were last counted: see bad_records.csv"


def met(runtime, folder):
    """Each rank has met one bad record of its own, and 5."""
    rows = Rows()
    records = BadRecords(folder, config(on_bad_record="skip", num_image=100, bad_record_share=0.5), runtime, rows)
    records.after_step(1, [batch(10 * runtime.rank + 1, 5)], meet=True)
    return [record.index for record in records.listed], len(rows)


def test_all_ranks_know_what_any_has_met_and_the_main_rank_tells_it(tmp_path):
    known = [1, 5, 11, 21]
    assert run_ranks(met, 3, tmp_path) == [(known, 1), (known, 0), (known, 0)]
    assert [row["index"] for row in listed(tmp_path)] == [str(index) for index in known]


def test_a_list_from_after_the_checkpoint_is_cut_back_to_what_the_checkpoint_knew(tmp_path):
    cfg = config(on_bad_record="skip", num_image=100, bad_record_share=0.5)
    known = (BadRecord(4, "place 4", "torn"),)
    (tmp_path / "bad_records.csv").write_text("index,place,reason\n4,place 4,torn\n5,place 5,torn\n")
    BadRecords(tmp_path, cfg, Runtime(1, 2), Rows(), known=known)
    assert len(listed(tmp_path)) == 2  # the main rank's to write
    for facts, count in ((known, 1), ((), 0)):
        BadRecords(tmp_path, cfg, Runtime(), Rows(), known=facts)
        assert len(listed(tmp_path)) == count


def test_a_list_that_cannot_be_written_does_not_end_the_run(tmp_path, log):
    cfg = config(on_bad_record="skip", num_image=100, bad_record_share=0.5)
    (tmp_path / "file").write_text("in the way")
    records = BadRecords(tmp_path / "file", cfg, Runtime(), Rows())
    records.after_step(1, [batch(4)], meet=True)
    assert [record.index for record in records.listed] == [4]
    assert f"{tmp_path}/file/bad_records.csv cannot be written" in log.messages[-1]
