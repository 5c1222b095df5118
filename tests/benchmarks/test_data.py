"""Both sides of the data benchmarks read the same, and what they are said to cost is what they cost."""

from __future__ import annotations

import dataclasses
import json
import mmap
import multiprocessing
import sys
import time

import numpy as np
import pytest
import torch

from launch import bench
from recognition.benchmarks import clock, data, data_index, gates
from recognition.benchmarks.clock import Timing
from recognition.benchmarks.data_baseline import LIKE_OPENCV, PILLOW, SampleDataset, parsed_by_line
from recognition.benchmarks.data_set import opened_case, write_faces
from recognition.data.loader import Loader
from recognition.data.recordio import RecordReader, RecordWriter
from recognition.data.sources import RecordSource
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.pictures import encoded, pil_pixels, smooth

RECORDS = 2000


@pytest.fixture(scope="module")
def case():
    with opened_case(None, images=22, batch=8, image_size=32) as made:
        yield made


def read(opened) -> tuple[torch.Tensor, torch.Tensor]:
    """All pictures and labels of a pass."""
    pictures, labels = zip(*opened())
    return torch.cat(pictures), torch.cat(labels)


def undone(x_BCHW: torch.Tensor) -> torch.Tensor:
    """Pixels, uint8 (B, H, W, 3), of which floats in [-1, 1] were made."""
    return (x_BCHW * 127.5 + 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


def test_a_set_of_faces_is_what_pillow_says_and_incomplete_batches_are_left_out(case):
    assert (case.images, case.steps) == (16, 2)
    source = RecordSource(case.rec)
    assert (len(source), source.num_classes) == (22, 3)
    assert [source.read(index).label for index in range(22)] == [0] * 8 + [1] * 8 + [2] * 6
    images_BHWC, labels_B = read(data.open_loader(case, Loader, 0, Runtime()))
    for pixels_HWC, label, index in zip(images_BHWC.numpy(), labels_B.tolist(), case.ids(source).tolist()):
        assert np.array_equal(pixels_HWC, pil_pixels(source.read(index).payload))
        assert label == index // 8


@pytest.mark.parametrize("decoder", [PILLOW, LIKE_OPENCV])
@pytest.mark.parametrize("processes", [0, 2])
def test_the_baseline_undone_is_the_loaders_batch(case, decoder, processes):
    x_BCHW, labels_B = read(data.open_samples(case, decoder, processes, Runtime(), flip=0.0))
    images_BHWC, expected_B = read(data.open_loader(case, Loader, 2, Runtime()))
    assert x_BCHW.dtype == torch.float32
    assert labels_B.dtype == expected_B.dtype == torch.int64
    assert torch.equal(undone(x_BCHW), images_BHWC)
    assert torch.equal(labels_B, expected_B)


def test_the_baseline_mirrors_some_and_all_where_told(case):
    images_BHWC, _ = read(data.open_loader(case, Loader, 0, Runtime()))
    x_BCHW, _ = read(data.open_samples(case, PILLOW, 0, Runtime(), flip=1.0))
    assert torch.equal(undone(x_BCHW), images_BHWC.flip(2))
    torch.manual_seed(0)
    coins = undone(read(data.open_samples(case, PILLOW, 0, Runtime()))[0])
    mirrored = [torch.equal(some, picture.flip(1)) for some, picture in zip(coins, images_BHWC)]
    plain = [torch.equal(some, picture) for some, picture in zip(coins, images_BHWC)]
    assert 0 < sum(mirrored) < 16
    assert sum(mirrored) + sum(plain) == 16


def test_a_second_pass_reads_the_same_again(case):
    for opened in (
        data.open_samples(case, PILLOW, 2, Runtime(), flip=0.0),
        data.open_loader(case, Loader, 1, Runtime()),
        data.open_decoder(case, Runtime()),
    ):
        assert torch.equal(read(opened)[1], read(opened)[1])


def test_the_decoder_alone_decodes_the_same(case):
    pictures = [pictures.clone() for pictures, _ in data.open_decoder(case, Runtime())()]
    images_BHWC, labels_B = read(data.open_loader(case, Loader, 0, Runtime()))
    assert torch.equal(torch.cat(pictures), images_BHWC)
    assert torch.equal(read(data.open_decoder(case, Runtime()))[1], labels_B)


def test_dali_by_its_own_reader_reads_each_image_of_a_pass_once(case):
    pytest.importorskip("nvidia.dali")
    x_BCHW, labels_B1 = read(data.open_dali(case, 1, Runtime()))
    images_BHWC, labels_B = read(data.open_loader(case, Loader, 0, Runtime()))
    assert sorted(labels_B1[:, 0].tolist()) == sorted(labels_B.tolist())
    shown = sorted(min(picture.numpy().tobytes(), picture.flip(1).numpy().tobytes()) for picture in undone(x_BCHW))
    assert shown == sorted(min(p.numpy().tobytes(), p.flip(1).numpy().tobytes()) for p in images_BHWC)


def test_dali_has_nothing_in_flight_after_a_pass(case, monkeypatch):
    dali = pytest.importorskip("nvidia.dali")
    schedule_run, begun = dali.Pipeline.schedule_run, []
    monkeypatch.setattr(dali.Pipeline, "schedule_run", lambda self: (begun.append(self), schedule_run(self)))
    opened = data.open_dali(case, 1, Runtime())
    assert [len(read(opened)[0]), len(begun), len(read(opened)[0]), len(begun)] == [16, 2, 16, 4]


def test_a_step_reads_a_pass_to_its_end():
    taken = []

    def opened():
        for number in range(3):
            taken.append(number)
            yield None, None

    step = data.reading_step(lambda runtime: opened, Runtime())
    assert (step(0), step(1), taken) == (None, None, [0, 1, 2] * 2)


def test_a_baseline_of_a_set_without_header_takes_all_records(tmp_path):
    write_faces(tmp_path / "train.rec", 3, 32)
    reader = RecordReader(tmp_path / "train.rec")
    keys = reader.image_keys.tolist()
    lines = [f"{place}\t{reader.offset(key)}\n" for place, key in enumerate(keys)]
    (tmp_path / "train.idx").write_text("".join(lines))
    assert len(SampleDataset(tmp_path / "train.rec", PILLOW)) == 3


def test_rows_are_relative_to_the_baseline(here, tmp_path):
    write_faces(tmp_path / "train.rec", 9, 32)
    rows = data.bench_data(here, images=100, batch=4, workers=[0, 2], source=tmp_path)
    names = [row["way"] for row in rows]
    assert names[:4] == ["baseline", "baseline at its best", "loader, 0 threads", "loader, 2 threads"]
    assert names[-1] == "decoder alone"
    assert (data.DALI in names) == (data.DALI_READER in names) == data.has_dali()
    assert [row["workers"] for row in rows[:4]] == [2, 2, 0, 2]
    for row in rows:
        assert row["x"] == pytest.approx(row["images/s"] / rows[0]["images/s"])
        assert row["CPU us/image"] > 0
        assert row["bytes/image"] == 32 * 32 * 3 * (4 if row["way"] in (*data.BASELINES, data.DALI_READER) else 1)


def test_too_few_images_are_one_line(here, tmp_path):
    write_faces(tmp_path / "train.rec", 3, 32)
    with pytest.raises(InputError, match="3 images do not fill a batch of 4; lower --batch"):
        data.bench_data(here, images=100, batch=4, workers=[1], source=tmp_path)


def test_pictures_that_are_not_square_are_one_line(tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key in range(2):
            writer.write(key, encoded(smooth(key, 16, 32)), 0.0)
    with pytest.raises(InputError, match="train.rec key 0 at offset 0: the image is 16x32 pixels"):
        with opened_case(tmp_path, images=2, batch=2):
            pass


def test_the_loader_has_the_threads_of_its_row_and_all_others_the_most(case):
    ways = data.ways_of(case, [1, 3])
    assert {name: way.workers for name, way in ways.items() if name not in (data.DALI, data.DALI_READER)} == {
        **{"baseline": 3, "baseline at its best": 3, "loader, 1 thread": 1, "loader, 3 threads": 3},
        "decoder alone": 0,
    }


def spin(seconds):
    """Use that much CPU time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@pytest.mark.parametrize("ended", [False, True])
def test_cpu_time_of_child_processes_counts_while_they_live_and_afterwards(ended):
    context = multiprocessing.get_context("fork")
    done = context.Event()

    def work():
        spin(0.2)
        done.set()
        if not ended:
            time.sleep(60)

    child = context.Process(target=work)

    def step(number):
        child.start()
        done.wait()
        if ended:
            child.join()

    timing = clock.timed_step(step, 0, threads=1, device=torch.device("cpu"))
    child.terminate()
    child.join()
    assert 0.2 <= timing.cpu_s < 0.4


def data_rows(monkeypatch, here, tiny, *, baseline, best, ours, decoder):
    """Rows of the group for sides that took so long, wall and CPU, over the 16 images of `tiny`."""
    taken = {data.BASELINE: baseline, data.BASELINE_AT_BEST: best, data.loader_name(1): ours, data.DECODER: decoder}
    timings = {name: Timing(cpu_s, wall_s) for name, (wall_s, cpu_s) in taken.items()}
    monkeypatch.setattr(type(here), "timings", lambda self, sides: {name: timings[name] for name in sides})
    return gates.bench_gates(here, groups=["data"], sizes=tiny)


def test_the_bounds_of_reading_are_those_that_were_agreed(monkeypatch, here, tiny):
    """A picture may take 100 us, or a quarter more than the decoder alone on a core where that takes longer."""
    us = 16e-6
    sides = {"baseline": (50 * us, 600 * us), "best": (40 * us, 500 * us), "decoder": (90 * us, 60 * us)}
    rows = data_rows(monkeypatch, here, tiny, **sides, ours=(10 * us, 100 * us))
    assert [(row["figure"], row["needs"], row["bound"]) for row in rows[:3]] == [
        (pytest.approx(5.0), gates.AT_LEAST, 5.0),
        (pytest.approx(100.0), gates.AT_MOST, 100.0),
        (0.25, gates.AT_MOST, 0.25),
    ]
    assert "20000 -> 100000 images/s; against the baseline at its best 4.00x" in rows[0]["detail"]
    assert [(row["bound"], row["unit"]) for row in rows[3:]] == [(1.0, "s"), (350, "MB"), (30, "s of CPU time")]
    slow_core = sides | {"decoder": (99 * us, 120 * us)}
    assert data_rows(monkeypatch, here, tiny, **slow_core, ours=(us, us))[1]["bound"] == pytest.approx(150.0)


@pytest.mark.parametrize(("slower", "fails"), [("wall", 0), ("cpu", 1)])
def test_a_loader_that_is_made_slow_fails_its_gate(monkeypatch, here, tiny, slower, fails):
    """Really read and really timed; what slows it is some hundred times what reading sixteen images takes."""
    batches = Loader.batches

    def slowly(self, filled):
        time.sleep(0.3) if slower == "wall" else spin(0.1)
        yield from batches(self, filled)

    monkeypatch.setattr(Loader, "batches", slowly)
    assert not gates.bench_gates(here, groups=["data"], sizes=tiny)[fails]["passed"]


@pytest.mark.parametrize("size", [31, 33])
def test_bytes_that_are_not_a_quarter_fail_whether_more_or_fewer(monkeypatch, here, tiny, size):
    monkeypatch.setattr(data, "bytes_of_pictures", lambda runtime, opens: [4 * 32 * 32 * 3, size * 32 * 3])
    assert not gates.bench_gates(here, groups=["data"], sizes=tiny)[2]["passed"]


def test_an_index_is_opened_as_the_lines_say(tmp_path):
    with data_index.sparse_set(tmp_path, RECORDS) as rec:
        assert rec.stat().st_blocks * 512 < rec.stat().st_size / 100
        source, offsets = RecordSource(rec), parsed_by_line(rec.with_suffix(".idx"))
        assert dict(zip(source.reader.keys.tolist(), source.reader.offsets.tolist())) == offsets
        assert (len(offsets), offsets[RECORDS - 1]) == (RECORDS, (RECORDS - 1) * data_index.RECORD_BYTES)
        assert (len(source), source.num_classes) == (RECORDS - 1 - data_index.IDENTITIES, data_index.IDENTITIES)
        assert source.read(len(source) - 1).payload == b"image"
    assert not list(tmp_path.iterdir())


def test_index_rows(here, tiny, tmp_path):
    rows = data_index.bench_index(here, records=RECORDS, folder=tmp_path, lines=500)
    assert [row["index"] for row in rows] == ["parsed line by line", "first opening", "cached"]
    assert [row["scaled from"] for row in rows] == [500, None, None]
    assert all(row["records"] == RECORDS and row["wall s"] > 0 for row in rows)
    assert not list(tmp_path.iterdir())


def test_time_and_memory_of_a_few_lines_stand_for_all(monkeypatch, here, tmp_path):
    seen = data_index.Opened(Timing(2.0, 3.0), 4_000_000, 5_000_000)
    monkeypatch.setattr(type(here), "apart", lambda self, function, *args: [seen])
    assert data_index.bench_index(here, records=900, folder=tmp_path, lines=1000)[0]["wall s"] == 3.0
    parsed, first, _ = data_index.bench_index(here, records=3000, folder=tmp_path, lines=1000)
    assert [parsed[key] for key in ("CPU s", "wall s", "peak MB", "MB in use")] == [6.0, 9.0, 12.0, 15.0]
    assert [first[key] for key in ("CPU s", "wall s", "peak MB", "MB in use")] == [2.0, 3.0, 4.0, 5.0]


def hoard():
    passing = torch.ones(25_000_000)
    del passing
    return torch.ones(5_000_000)


def test_memory_of_an_opening_is_what_it_held_at_most_and_what_it_keeps(here):
    # Apart: a process that has freed memory before holds less of it anew.
    (seen,) = here.apart(opened_and_used, 2_500_000)
    # What is made last takes the place of what was freed, or does not.
    assert 95e6 < seen.peak_bytes < 125e6
    assert seen.used_bytes == pytest.approx(30e6, rel=0.2)


def opened_and_used(runtime, numbers):
    kept = []
    return data_index.opened(runtime, hoard, lambda made: kept.append(torch.ones(numbers)))


def test_every_page_of_an_index_is_looked_at(tmp_path, monkeypatch):
    with data_index.sparse_set(tmp_path, RECORDS) as rec:
        source, seen = RecordSource(rec), []
        monkeypatch.setattr(source.reader, "offset", seen.append)
        data_index.look_up_all(source)
        per_page = mmap.PAGESIZE // 8
        assert {key // per_page for key in seen} == {key // per_page for key in source.keys.tolist()}


def test_only_the_first_opening_finds_no_cache(here, tiny, tmp_path, monkeypatch):
    found = []

    def spy(runtime, open_index, use):
        found.append(bool(list(tmp_path.rglob("*.cache"))))
        open_index()
        return data_index.Opened(Timing(0.0, [9.0, 5.0, 3.0, 4.0][len(found) - 1]), 0, 0)

    monkeypatch.setattr(data_index, "opened", spy)
    with data_index.sparse_set(tmp_path, RECORDS) as rec:
        first, cached = data_index.opened_twice(dataclasses.replace(here, repeats=3), rec)
    assert found == [False, True, True, True]
    assert (first.timing.wall_s, cached.timing.wall_s) == (9.0, 3.0)


def test_a_full_disk_is_one_line_that_says_how_much(here, tmp_path, monkeypatch):
    monkeypatch.setattr(data_index.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 900_000_000}))
    with pytest.raises(InputError, match=r"0\.9 GB free; an index of 100,000,000 records needs 5\.0 GB"):
        data_index.bench_index(here, records=100_000_000, folder=tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        data_index.bench_index(here, records=10, folder=tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("data --images 64 --workers 0 3", {"images": 64, "batch": 128, "workers": [0, 3], "source": None}),
        ("index --records 5", {"records": 5}),
    ],
)
def test_the_commands_hand_on_what_they_are_given(monkeypatch, tmp_path, line, given):
    handed = []
    for module, name in ((data, "bench_data"), (data_index, "bench_index")):
        monkeypatch.setattr(module, name, lambda settings, **options: handed.append(options) or [{"figure": 1.0}])
    file = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["bench.py", *line.split(), "--json", str(file)])
    bench.main()
    assert given.items() <= handed[0].items()
    assert json.loads(file.read_text())["rows"] == [{"figure": 1.0}]


def test_workers_are_no_negative_number(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench.py", "data", "--workers", "-1"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "--workers" in capsys.readouterr().err
