"""Goal: a kill at any moment of a save leaves a whole checkpoint to go on from, the newest or the one before."""

import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest

from recognition.checkpoint import CheckpointStore, newest_checkpoint, open_checkpoint
from tests.checkpoint.small_checkpoints import LONE, assert_is_of, entries, save

OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir"}


def forked(work):
    """Process id of a child that does `work` and nothing of the parent's."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return child


def test_a_hundred_kills_at_random_moments(tmp_path):
    rng = np.random.default_rng(0)
    count, saved, cut_short = 400_000, -1, 0
    with CheckpointStore(tmp_path / "timed", LONE) as store:
        began = time.monotonic()
        for step in range(5):
            save(store, step, count=count)
        save_s = (time.monotonic() - began) / 5
    shutil.rmtree(tmp_path / "timed")
    for _ in range(100):
        reader, writer = os.pipe()

        def write_on(writer=writer, start=saved + 1):
            with CheckpointStore(tmp_path, LONE, keep_last=2) as store:
                os.write(writer, b"begun\n")
                for step in range(start, start + 1000):
                    save(store, step, count=count)
                    os.write(writer, b"%d\n" % step)

        child = forked(write_on)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            assert told.readline() == b"begun\n"
            time.sleep(rng.uniform(0, 3 * save_s))
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            last_told = [saved, *map(int, told.read().split())][-1]
        # No lock and no clearing up: what any reader sees of the folder as the kill left it.
        found = newest_checkpoint(tmp_path, LONE, pytest.fail)
        cut_short += any("." in name for name in entries(tmp_path))
        if found is None:
            assert last_told == -1
            continue
        assert found.step in (last_told, last_told + 1)
        assert_is_of(found, found.step, count=count)
        saved = found.step
    assert saved > 20
    assert cut_short > 20  # else the kills missed the writing
    with CheckpointStore(tmp_path, LONE) as store:
        assert_is_of(store.newest(pytest.fail), saved, count=count)
        assert not [name for name in entries(tmp_path) if "." in name]


@pytest.mark.parametrize("step", [3, 2])
def test_a_kill_before_every_single_operation(tmp_path, step):
    """Saving step 3 after steps 1 and 2, or step 2 once more, with one to be kept; the kills leave no gap."""
    outcomes = set()
    for count in range(1, 200):
        folder = tmp_path / str(count)
        with CheckpointStore(folder, LONE, keep_last=2) as store:
            for earlier in (1, 2):
                save(store, earlier)

        def save_until_killed(folder=folder, left=count):
            def count_down(event, arguments):
                nonlocal left
                if event in OPERATIONS and str(folder) in str(arguments):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            with CheckpointStore(folder, LONE, keep_last=1) as store:
                sys.addaudithook(count_down)
                save(store, step, count=700)

        status = os.waitpid(forked(save_until_killed), 0)[1]
        with CheckpointStore(folder, LONE) as store:
            found = store.newest(pytest.fail)
            assert found.step in (2, step)
            is_new = found.tensor_file("rank-0.safetensors").shape("w") == (700,)
            assert is_new == (found.step == 3) or step == 2
            assert_is_of(found, found.step, count=700 if is_new else 500)
            for entry in store.checkpoints():
                open_checkpoint(entry.path)  # those being removed, too, are whole or gone
            assert not [name for name in entries(folder) if "." in name]
        outcomes.add(is_new)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert status == 0
    assert count > 20
    assert outcomes == {False, True}


def test_files_and_folders_are_on_the_disk_before_a_name_says_so(tmp_path, monkeypatch):
    done, fsync, rename = [], os.fsync, os.rename

    def synced(handle):
        done.append(("synced", os.readlink(f"/proc/self/fd/{handle}").removeprefix(f"{tmp_path}/")))
        fsync(handle)

    def renamed(old, new):
        rename(old, new)
        done.append(("renamed", old.name, new.name))

    with CheckpointStore(tmp_path, LONE, keep_last=1) as store:
        save(store, 1)
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "rename", renamed)
        save(store, 2)
    new = done[0][1].split("/")[0]
    assert new.startswith("step-00000002.new-")
    *written, manifest, folder, named, parent, cleared, parent_again = done
    files = ("config.json", "rank-0.safetensors", "state.json")
    assert sorted(written) == [("synced", f"{new}/{name}") for name in files]
    assert (manifest, folder) == (("synced", f"{new}/manifest.json"), ("synced", new))
    assert (named, parent) == (("renamed", new, "step-00000002"), ("synced", str(tmp_path)))
    assert cleared[1] == "step-00000001"
    assert cleared[2].startswith("step-00000001.out-")
    assert parent_again == parent
