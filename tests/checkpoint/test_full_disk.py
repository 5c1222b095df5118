"""Goal: whatever room the disk has, an error says so, earlier checkpoints stay bit by bit, and nothing is left over."""

import dataclasses
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass

import pytest

from recognition.checkpoint import CheckpointNotWritten, CheckpointStore
from recognition.runtime import Runtime
from tests.checkpoint.small_checkpoints import LONE, assert_is_of, entries, hashes, save
from tests.ranks import run_ranks

LEVELS = range(20)
ERROR = r"step 2 was not written: rank {rank}: {what}: .*/{file}; the checkpoint needs \d+ bytes, \d+ are free there$"


def limited(size):
    """Let no file of this process grow beyond `size` bytes; None = as large as the system lets it."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if size is None else size, most))


@pytest.mark.parametrize("failing", [0, 1])
def test_a_limit_on_one_rank_fails_the_save_on_all(tmp_path, failing):
    """20 levels, from no byte at all to one byte less than the largest file takes."""

    def try_levels(runtime):
        messages = []
        runtime.heartbeat.stop()  # here its store is a file, too, which the limit would hit
        runtime = dataclasses.replace(runtime, heartbeat=None)
        with CheckpointStore(tmp_path, runtime) as store:
            largest = max(path.stat().st_size for path in save(store, 1, runtime=runtime).iterdir())
            runtime.barrier()
            before = hashes(tmp_path)
            for level in LEVELS:
                if runtime.rank == failing:
                    limited((largest - 1) * level // (len(LEVELS) - 1))
                with pytest.raises(CheckpointNotWritten) as caught:
                    save(store, 2, runtime=runtime)
                limited(None)
                messages.append(str(caught.value))
                assert hashes(tmp_path) == before
                assert entries(tmp_path) == ["step-00000001"]
                runtime.barrier()
            assert_is_of(store.newest(pytest.fail), 1, world=2)
            save(store, 2, runtime=runtime)
            assert_is_of(store.newest(pytest.fail), 2, world=2)
        return messages

    heard = run_ranks(try_levels, 2)
    assert heard[0] == heard[1]
    assert len(heard[0]) == len(LEVELS)
    for message in heard[0]:
        assert re.search(ERROR.format(rank=failing, what="File too large", file=r"[\w.-]+"), message), message


@dataclass(frozen=True)
class OtherUser(Runtime):
    """A runtime in whose saves, once their room was checked, someone else fills the disk up to `left` bytes."""

    folder: object = None
    left: int = 0

    def at(self, phase, step=None):
        """Fill the disk just before the files are written."""
        if phase == "checkpoint: files":
            size = shutil.disk_usage(self.folder).free - self.left
            with open(self.folder / "filler", "wb") as file:
                while size > 0:
                    size -= file.write(bytes(min(size, 1 << 20)))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_disk_that_fills_up_while_files_are_written(small_disk):
    folder, count = small_disk / "checkpoints", 50_000
    with CheckpointStore(folder, LONE) as store:
        size = sum(-(-path.stat().st_size // 4096) * 4096 for path in save(store, 1, count=count).iterdir())
        before, failed_in = hashes(folder), set()
        for level in LEVELS:
            filling = OtherUser(folder=small_disk, left=(size - 4096) * level // (len(LEVELS) - 1))
            store._runtime = filling
            with pytest.raises(CheckpointNotWritten, match="No space left on device") as caught:
                save(store, 2, count=count)
            message = str(caught.value)
            assert re.search(ERROR.format(rank=0, what="No space left on device", file=r"[\w.-]+"), message), message
            failed_in.add(re.search(r"/([\w.-]+);", message)[1])
            assert hashes(folder) == before
            assert entries(folder) == ["step-00000001"]
            (small_disk / "filler").unlink()
        assert len(failed_in) >= 3
        store._runtime = LONE
        save(store, 2, count=count)
        assert_is_of(store.newest(pytest.fail), 2, count=count)


def test_room_is_checked_before_a_byte_is_written(small_disk):
    folder = small_disk / "checkpoints"
    with CheckpointStore(folder, LONE) as store:
        save(store, 1)
        before, free = hashes(folder), shutil.disk_usage(folder).free
        with pytest.raises(CheckpointNotWritten) as caught:
            save(store, 2, count=3_000_000)
        message = str(caught.value)
        needed, found = map(int, re.search(rf"needs (\d+) bytes and (\d+) are free in {folder};", message).groups())
        assert found == free
        assert 12_000_000 < needed < 14_000_000
        assert hashes(folder) == before
        assert entries(folder) == ["step-00000001"]
        # It was refused for its size, before the first operation on the folder: no phase of writing was begun.
        store._runtime = Unwritten()
        with pytest.raises(CheckpointNotWritten, match="are free in"):
            save(store, 2, count=3_000_000)


class Unwritten(Runtime):
    """A runtime in which nothing is written."""

    def at(self, phase, step=None):
        assert phase == "checkpoint: sizes"


def test_the_sizes_of_all_ranks_count(small_disk):
    def try_three(runtime):
        with CheckpointStore(small_disk, runtime) as store:
            save(store, 1, runtime=runtime, count=100_000)
            with pytest.raises(CheckpointNotWritten, match="are free in") as caught:
                save(store, 2, runtime=runtime, count=700_000)
        return str(caught.value)

    first, *others = run_ranks(try_three, 3)
    assert others == [first, first]
