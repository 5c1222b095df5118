"""The loader's contract: the same batches for any threads and ranks, from any step; errors and stalls are raised."""

import ctypes
import dataclasses
import itertools
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch

from recognition.data.loader import Loader
from recognition.data.order import sample_ids
from recognition.data.recordio import RecordReader
from recognition.data.sources import SyntheticSource, open_source
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.loop import train
from tests.conftest import FIXTURES, ROOT
from tests.pictures import pil_pixels
from tests.ranks import run_ranks
from tests.training.small_runs import small

RECORDS = FIXTURES / "recordio" / "insightface"
SEED = 11


class FaultySource:
    """Synthetic faces, with `fault(index)` called before each read."""

    num_classes = 5

    def __init__(self, fault=lambda index: None, num_image=40, size=8):
        self.inner = SyntheticSource(num_classes=5, num_image=num_image, image_size=size)
        self.fault = fault

    def __len__(self):
        return len(self.inner)

    def read(self, index):
        self.fault(index)
        return self.inner.read(index)

    def describe(self, index):
        return f"sample number {index}"

    def content(self, ends_bytes):
        raise OSError("no hash, as of files that cannot be read")


def folder_of(tmp_path):
    """The images of the record fixture as one folder per identity, and as a list file."""
    reader, lines = RecordReader(RECORDS / "train.rec"), []
    for place, key in enumerate(reader.image_keys):
        record = reader.read(key)
        path = Path(f"id{record.label}") / f"{key:03}.jpg"
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(record.payload)
        lines.append(f"{place}\t{record.label}\t{path}\n")
    (tmp_path / "train.lst").write_text("".join(lines))
    return tmp_path


def load(source, *, rank=0, world=1, batch_size=6, **options):
    options = {"num_steps": 9, "image_size": 112, "seed": SEED} | options
    return list(Loader(source, batch_size=batch_size, runtime=Runtime(rank=rank, world=world), **options))


def faulty_loader(fault, **options):
    options = {"num_steps": 6, "batch_size": 8, "num_workers": 2, "timeout_s": 30.0} | options
    return Loader(FaultySource(fault), runtime=Runtime(), seed=SEED, image_size=8, **options)


def data_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("data-")]


def assert_equal(batches, expected):
    assert len(batches) == len(expected)
    for ours, theirs in zip(batches, expected):
        for field in ("images_BHWC", "labels_B", "ids_B", "epochs_B"):
            assert getattr(ours, field).equal(getattr(theirs, field)), field


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    deadline = time.monotonic() + 2
    while data_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not data_threads()


def test_batches_hold_the_samples_of_the_order():
    source = open_source(RECORDS)
    batches = load(source)
    positions = np.arange(9 * 6)
    ids = sample_ids(positions, num_samples=24, seed=SEED)
    assert torch.cat([b.ids_B for b in batches]).tolist() == ids.tolist()
    assert torch.cat([b.epochs_B for b in batches]).tolist() == (positions // 24).tolist()
    assert torch.cat([b.labels_B for b in batches]).tolist() == [source.read(i).label for i in ids]
    for batch in batches:
        assert batch.images_BHWC.shape == (6, 112, 112, 3)
        assert batch.images_BHWC.dtype == torch.uint8
        assert batch.labels_B.dtype == batch.ids_B.dtype == batch.epochs_B.dtype == torch.int64


def test_pixels_are_pillows():
    source = open_source(RECORDS)
    for batch in load(source, num_steps=2):
        for pixels, index in zip(batch.images_BHWC, batch.ids_B):
            np.testing.assert_array_equal(pixels, pil_pixels(source.read(int(index)).payload))


@pytest.mark.parametrize("num_workers", [0, 2, 3, 4])
@pytest.mark.parametrize("prefetch", [1, 5])
def test_batches_do_not_depend_on_threads(num_workers, prefetch):
    source = open_source(RECORDS)
    assert_equal(load(source, num_workers=num_workers, prefetch=prefetch), load(source, num_workers=1, prefetch=1))


def test_records_folders_and_lists_of_the_same_images_give_the_same_batches(tmp_path):
    folder = folder_of(tmp_path)
    expected = load(open_source(RECORDS))
    assert_equal(load(open_source(folder)), expected)
    assert_equal(load(open_source(folder / "train.lst")), expected)


@pytest.mark.parametrize("num_workers", [1, 4])
def test_synthetic_batches(num_workers):
    source = FaultySource()
    batches = load(source, num_workers=num_workers, image_size=8)
    for batch in batches:
        for pixels, label, index in zip(batch.images_BHWC, batch.labels_B.tolist(), batch.ids_B.tolist()):
            sample = source.read(index)
            assert label == sample.label
            np.testing.assert_array_equal(pixels, sample.payload)


@pytest.mark.parametrize("start_step", [1, 4, 8])
def test_resumed_loader_gives_the_remaining_batches(start_step):
    source = open_source(RECORDS)
    options = {"start_position": start_step * 6, "num_steps": 9 - start_step}
    assert_equal(load(source, **options), load(source)[start_step:])


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batch_of_one_rank(world):
    source = open_source(RECORDS)
    ranks = [load(source, rank=rank, world=world, batch_size=6 // world) for rank in range(world)]
    joined = [
        dataclasses.replace(
            parts[0],
            **{
                field: torch.cat([getattr(part, field) for part in parts])
                for field in ("images_BHWC", "labels_B", "ids_B", "epochs_B")
            },
        )
        for parts in zip(*ranks)
    ]
    assert_equal(joined, load(source))


def test_each_sample_comes_once_an_epoch():
    batches = [load(FaultySource(), rank=r, world=2, batch_size=7, num_steps=20, image_size=8) for r in range(2)]
    ids = torch.cat([torch.cat([a.ids_B, b.ids_B]) for a, b in zip(*batches)])
    assert len(ids) == 280
    for epoch in ids.view(7, 40):
        assert epoch.sort().values.tolist() == list(range(40))


EPOCH, OF_FACES = 40, {"image_size": 8, "batch_size": 2}


def ids_of(world, num_workers, **options):
    """Source indices of all ranks' batches in the order of the stream."""
    options = {"num_workers": num_workers, "prefetch": 2, **OF_FACES, **options}
    ranks = [load(FaultySource(num_image=EPOCH), rank=rank, world=world, **options) for rank in range(world)]
    return torch.cat([batch.ids_B for batches in zip(*ranks) for batch in batches]).tolist()


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("num_workers", [0, 1, 2, 3])
def test_each_sample_comes_exactly_once_an_epoch_for_any_ranks_and_threads(world, num_workers):
    ids = ids_of(world, num_workers, num_steps=-(-2 * EPOCH // (2 * world)))
    assert 2 * EPOCH <= len(ids) < 2 * EPOCH + 2 * world
    for epoch in (ids[:EPOCH], ids[EPOCH : 2 * EPOCH]):
        assert sorted(epoch) == list(range(EPOCH))
    assert ids[:EPOCH] != ids[EPOCH : 2 * EPOCH]


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("num_workers", [0, 3])
def test_resumed_at_any_step_and_twice_in_one_epoch_the_rest_is_the_same(world, num_workers):
    steps, sample_count = 14, 2 * world
    whole = ids_of(world, num_workers, num_steps=steps)
    for first in range(steps):
        rest = (
            ids_of(world, num_workers, start_position=first * sample_count, num_steps=steps - first) if first else whole
        )
        assert rest == whole[first * sample_count :]
    # Three parts, as a run has them that is stopped in an epoch, goes on, and is stopped in the same epoch again.
    for first, second in ((1, 2), (3, 7), (5, 13)):
        cuts = (0, first, second, steps)
        parts = [
            ids_of(world, num_workers, start_position=start * sample_count, num_steps=stop - start)
            for start, stop in zip(cuts, cuts[1:])
        ]
        assert sum(parts, []) == whole


def test_earlier_batches_keep_their_pixels():
    batches = load(FaultySource(), image_size=8)
    for batch in batches:
        np.testing.assert_array_equal(batch.images_BHWC[0], FaultySource().read(int(batch.ids_B[0])).payload)


def broken(index):
    if index == 20:
        raise KeyError("no such thing")


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_a_bug_in_a_thread_reaches_the_consumer_with_its_traceback(num_workers):
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="^sample number 20: loading failed with KeyError") as caught:
        list(faulty_loader(broken, num_workers=num_workers))
    assert time.monotonic() - started < 5
    assert isinstance(caught.value.__cause__, KeyError)
    assert "in broken" in "".join(traceback.format_exception(caught.value.__cause__))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_library_that_wants_to_exit_is_an_error_not_the_end_of_the_process(num_workers):
    def exits(index):
        if index == 20:
            sys.exit(0)

    with pytest.raises(RuntimeError, match="^sample number 20: loading failed with SystemExit: 0"):
        list(faulty_loader(exits, num_workers=num_workers))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_thread_that_dies_without_a_word_is_an_error_within_seconds(num_workers):
    held, gone = threading.Event(), threading.Event()

    def fault(index):
        # The others hold on to their shares, so that the one that is left can only be the victim's.
        if held.is_set() and threading.current_thread().name != "data-0":
            gone.wait(20)

    batches = iter(faulty_loader(fault, num_workers=num_workers, prefetch=1, timeout_s=60.0))
    next(batches)
    # All wait for work now. The victim is told to end itself when it gets some, outside of all that reports errors.
    held.set()
    (victim,) = (thread.ident for thread in data_threads() if thread.name == "data-0")
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(victim), ctypes.py_object(SystemExit)) == 1
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="^data-0 ended without a word"):
        list(batches)
    gone.set()
    assert time.monotonic() - started < 10


def train_with_a_broken_rank(runtime, folder):
    """Train; the last rank's source breaks. Each rank leaves a file that says when and how it ended."""
    with pytest.MonkeyPatch.context() as patch:
        if runtime.rank == runtime.world - 1:
            reads = itertools.count()
            source = FaultySource(lambda index: broken(20 if next(reads) == 10 else 0), size=32)
            patch.setattr("recognition.training.assembly.open_source", lambda *_, **__: source)
        cfg = small(folder, "num_classes=5", "num_image=40", "batch_size=4", "data_timeout_s=60", "num_workers=2")
        try:
            train(cfg, runtime)
        except BaseException as error:
            lines = traceback.format_exception(error)
            (folder / f"ended-{runtime.rank}").write_text(f"{time.monotonic()}\n{''.join(lines)}")
            os._exit(1)  # as a rank ends: no word to the others


def test_a_loader_that_fails_on_one_rank_ends_the_others_within_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.ranks.GRACE_S", 10.0)  # they end by themselves, not by the harness
    with pytest.raises(RuntimeError, match="ended without a result"):
        run_ranks(train_with_a_broken_rank, 3, tmp_path)
    ends = [(tmp_path / f"ended-{rank}").read_text().split("\n", 1) for rank in range(3)]
    assert "in broken" in ends[2][1]
    assert "KeyError: 'no such thing'" in ends[2][1]
    assert all("loading failed" not in trace for _, trace in ends[:2])
    assert max(float(at) for at, _ in ends) - float(ends[2][0]) < 5


def test_user_mistakes_stay_what_they_are():
    def fault(index):
        if index == 20:
            raise InputError("train.rec key 20: damaged; re-copy it")

    with pytest.raises(InputError, match="^train.rec key 20: damaged; re-copy it$"):
        list(faulty_loader(fault))


def test_batches_before_the_broken_one_still_come():
    expected = next(t for t, b in enumerate(load(FaultySource(), batch_size=8, image_size=8)) if 20 in b.ids_B)
    batches = iter(faulty_loader(broken))
    assert len([next(batches) for _ in range(expected)]) > 0
    with pytest.raises(RuntimeError):
        next(batches)


def test_image_of_another_size_names_the_sample():
    remedy = "align .*pack --align does, pack --image-size 16 only"
    with pytest.raises(InputError, match=rf"^sample number \d+: the image is 8x8 pixels, 16x16 is expected; {remedy}"):
        list(Loader(FaultySource(), batch_size=4, runtime=Runtime(), seed=0, num_steps=1, image_size=16))


def test_damaged_jpeg_names_file_and_key(tmp_path):
    data = bytearray((RECORDS / "train.rec").read_bytes())
    reader = RecordReader(RECORDS / "train.rec")
    middle = reader.offset(5) + 32 + len(reader.read(5).payload) // 2
    data[middle : middle + 64] = b"\xff\xd9" * 32
    (tmp_path / "train.rec").write_bytes(data)
    (tmp_path / "train.idx").write_bytes((RECORDS / "train.idx").read_bytes())
    with pytest.raises(
        InputError, match=f"{tmp_path}/train.rec key 5 at offset {reader.offset(5)}: not a readable JPEG"
    ):
        load(open_source(tmp_path, num_classes=6))


def test_stuck_read_is_an_error_that_names_it():
    release = threading.Event()

    def stuck(index):
        if index == 20:
            release.wait(20)

    started = time.monotonic()
    with pytest.raises(InputError, match="stuck at sample number 20; check the disk"):
        list(faulty_loader(stuck, timeout_s=0.5))
    assert time.monotonic() - started < 5
    release.set()


def test_slow_reads_that_go_on_are_no_error():
    batches = list(faulty_loader(lambda index: time.sleep(0.05), timeout_s=0.2, num_steps=2, num_workers=1))
    assert len(batches) == 2


def test_leaving_the_loop_ends_the_threads():
    for _ in faulty_loader(lambda index: None):
        assert len(data_threads()) == 2
        break
    assert not data_threads()


def train_until_interrupted():
    for _ in faulty_loader(lambda index: time.sleep(0.01)):
        raise KeyboardInterrupt


def test_interrupt_in_the_loop_ends_the_threads():
    with pytest.raises(KeyboardInterrupt):
        train_until_interrupted()


def test_a_read_that_never_returns_does_not_keep_the_process_alive():
    program = """
import time
from recognition.data.prefetch import Job, prefetched
job = Job(None, 1, lambda slot: time.sleep(60), lambda slot: "the dead drive")
list(prefetched([job], num_workers=1, prefetch=1, timeout_s=0.2))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert "InputError: no sample was read for 0.2 s, stuck at the dead drive" in done.stderr


def test_closing_early_does_not_wait_for_what_is_in_flight():
    batches = iter(faulty_loader(lambda index: time.sleep(0.02), num_steps=100, batch_size=40, prefetch=8))
    next(batches)
    started = time.monotonic()
    batches.close()
    assert time.monotonic() - started < 0.5


def test_threads_read_ahead_of_the_consumer_but_not_further():
    read = []
    batches = iter(faulty_loader(read.append, num_steps=20, prefetch=3))
    next(batches)
    time.sleep(0.3)
    assert len(read) == 3 * 8
    batches.close()


def test_wait_is_the_time_that_the_consumer_waited():
    waits = [b.wait_s for b in faulty_loader(lambda index: time.sleep(0.02), num_workers=1, prefetch=1, num_steps=2)]
    assert all(8 * 0.02 < wait_s < 1 for wait_s in waits)
    loader = faulty_loader(lambda index: time.sleep(0.005), num_workers=4, prefetch=4, num_steps=6)
    waits = []
    for batch in loader:
        waits.append(batch.wait_s)
        time.sleep(0.1)
    assert sum(waits[1:]) < 0.1


def test_length_is_the_number_of_batches():
    loader = Loader(FaultySource(), batch_size=2, runtime=Runtime(), seed=0, num_steps=3, image_size=8)
    assert len(loader) == len(list(loader)) == 3
