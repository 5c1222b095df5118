"""The store with several ranks, with two runs, and with what callers may get wrong."""

import os
import signal

import pytest
import torch

from recognition.checkpoint import CheckpointNotWritten, CheckpointStore, folder
from recognition.errors import InputError
from tests.checkpoint.small_checkpoints import LONE, assert_is_of, entries, hashes, save
from tests.ranks import run_ranks


@pytest.mark.parametrize("world", [2, 4])
def test_every_rank_finds_what_every_rank_wrote(tmp_path, world):
    def save_and_find(runtime):
        with CheckpointStore(tmp_path / "new" / "checkpoints", runtime) as store:
            assert store.newest(pytest.fail) is None
            for step in (1, 2, 3):
                path = save(store, step, runtime=runtime, is_best=step == 1)
                assert path.is_dir()
            assert_is_of(store.newest(pytest.fail), 3, world=world)
            return path, [entry.step for entry in store.checkpoints()]

    expected = tmp_path / "new" / "checkpoints" / "step-00000003", [1, 2, 3]
    assert run_ranks(save_and_find, world) == [expected] * world


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_checkpoint_is_read_by_another_number_of_ranks(tmp_path, world):
    def save_one(runtime):
        with CheckpointStore(tmp_path, runtime) as store:
            save(store, 7, runtime=runtime)

    def find(runtime):
        with CheckpointStore(tmp_path, runtime) as store:
            assert_is_of(store.newest(pytest.fail), 7, world=2)

    run_ranks(save_one, 2)
    run_ranks(find, world)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_failure_of_one_rank_is_the_same_error_on_all(tmp_path, failing):
    def try_to_save(runtime):
        with CheckpointStore(tmp_path, runtime) as store:
            save(store, 1, runtime=runtime)
            before = hashes(tmp_path)
            runtime.barrier()
            bad = torch.ones(1, dtype=torch.complex64 if runtime.rank == failing else torch.float32)
            with pytest.raises(CheckpointNotWritten) as caught:
                store.save(2, tensors={f"{runtime.rank}.safetensors": {"odd": bad}}, documents={}, facts={})
            assert hashes(tmp_path) == before
            assert entries(tmp_path) == ["step-00000001"]
            runtime.barrier()
            save(store, 2, runtime=runtime)
        return str(caught.value)

    messages = run_ranks(try_to_save, 3)
    assert set(messages) == {messages[0]}
    assert f"step 2 was not written: rank {failing}: {failing}.safetensors: tensor 'odd'" in messages[0]


def test_an_error_while_writing_leaves_nothing_aside_on_any_rank(tmp_path):
    class Broken:
        """A tensor by its description, whose bytes cannot be had: a device that failed."""

        dtype, layout, shape = torch.float32, torch.strided, (3,)

        def element_size(self):
            return 4

        def numel(self):
            return 3

        def detach(self):
            raise RuntimeError("the device is gone")

    def try_to_save(runtime):
        with CheckpointStore(tmp_path, runtime) as store:
            named = {"w": Broken() if runtime.rank else torch.ones(3)}
            with pytest.raises(CheckpointNotWritten, match="rank 1: RuntimeError: the device is gone"):
                store.save(2, tensors={f"{runtime.rank}.safetensors": named}, documents={}, facts={})
            assert entries(tmp_path) == []

    run_ranks(try_to_save, 2)


def test_ranks_that_do_not_share_the_folder_are_told_so(tmp_path):
    def try_to_save(runtime):
        own = tmp_path / str(runtime.rank)
        own.mkdir()
        with CheckpointStore(own, runtime) as store:
            with pytest.raises(CheckpointNotWritten, match=r"rank-1\.safetensors .*all nodes share\?"):
                save(store, 1, runtime=runtime)
            assert entries(own) == []

    run_ranks(try_to_save, 2)


def test_a_rank_that_does_not_see_the_folder_is_told_so(tmp_path):
    def try_to_save(runtime):
        with CheckpointStore(tmp_path / str(runtime.rank), runtime) as store:
            with pytest.raises(CheckpointNotWritten, match=r"rank 1: No such file .*all nodes share\?"):
                save(store, 1, runtime=runtime)

    run_ranks(try_to_save, 2)


def test_ranks_that_disagree_are_refused(tmp_path):
    def disagree(runtime):
        with CheckpointStore(tmp_path, runtime) as store:
            with pytest.raises(CheckpointNotWritten, match=r"the ranks are at steps \[1, 2\]"):
                save(store, 1 + runtime.rank, runtime=runtime)
            with pytest.raises(CheckpointNotWritten, match=r"more than one file is to be named same\.safetensors"):
                store.save(1, tensors={"same.safetensors": {}}, documents={}, facts={})
            assert entries(tmp_path) == []

    run_ranks(disagree, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"documents": {"a.json": float("nan")}}, r"a\.json cannot be stored as JSON"),
        ({"documents": {"a.json": {1, 2}}}, r"a\.json cannot be stored as JSON"),
        ({"facts": {"loss": float("inf")}}, "facts cannot be stored as JSON"),
        ({"documents": {"../a.json": {}}}, r"'\.\./a\.json' is no name"),
        ({"documents": {"manifest.json": {}}}, r"'manifest\.json' is no name"),
        ({"tensors": {"a/b": {}}}, "'a/b' is no name"),
        ({"tensors": {"a": {}}, "documents": {"a": {}}}, "more than one file is to be named a"),
        ({"step": -1}, "step -1 is no number of steps"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, wrong, message):
    given = {"step": 1, "tensors": {}, "documents": {}, "facts": {}, **wrong}
    with CheckpointStore(tmp_path, LONE) as store:
        with pytest.raises(CheckpointNotWritten, match=message):
            store.save(given.pop("step"), **given)
    assert entries(tmp_path) == []


def test_a_step_that_was_saved_before_is_replaced(tmp_path):
    with CheckpointStore(tmp_path, LONE) as store:
        save(store, 1, count=500)
        save(store, 1, count=700)
        assert entries(tmp_path) == ["step-00000001"]
        assert_is_of(store.newest(pytest.fail), 1, count=700)


def test_what_was_being_replaced_is_put_back(tmp_path):
    with CheckpointStore(tmp_path, LONE) as store:
        save(store, 1).rename(tmp_path / "step-00000001.old-0123abcd")
        (tmp_path / "step-00000001.new-0123abcd").mkdir()
    with CheckpointStore(tmp_path, LONE) as store:
        assert entries(tmp_path) == ["step-00000001"]
        assert_is_of(store.newest(pytest.fail), 1)


def test_a_replacement_that_cannot_be_named_leaves_the_old_one(tmp_path, monkeypatch):
    rename = os.rename

    def refuse(old, new):
        if ".new-" in str(old):
            raise PermissionError(1, "Operation not permitted", str(old))
        rename(old, new)

    with CheckpointStore(tmp_path, LONE) as store:
        save(store, 1)
        monkeypatch.setattr(os, "rename", refuse)
        with pytest.raises(CheckpointNotWritten, match="Operation not permitted"):
            save(store, 1, count=700)
        assert entries(tmp_path) == ["step-00000001"]
        assert_is_of(store.newest(pytest.fail), 1)


def test_a_run_in_the_folder_of_another_is_refused_and_does_not_touch_it(tmp_path):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        store = CheckpointStore(tmp_path, LONE)
        (tmp_path / "step-00000001.new-0123abcd").mkdir()  # as while it writes
        os.write(writer, b"x")
        signal.pause()
        os._exit(len(str(store)))
    assert os.read(reader, 1) == b"x"
    try:

        def intrude(runtime):
            with pytest.raises(InputError, match="in use by another run"):
                CheckpointStore(tmp_path, runtime)

        intrude(LONE)
        run_ranks(intrude, 2)
        assert entries(tmp_path) == ["step-00000001.new-0123abcd"]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with CheckpointStore(tmp_path, LONE):
        assert entries(tmp_path) == []


def test_without_locks_nothing_of_others_is_removed(tmp_path, monkeypatch, caplog):
    def unsupported(handle, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(folder.fcntl, "flock", unsupported)
    (tmp_path / "step-00000001.new-0123abcd").mkdir()
    with CheckpointStore(tmp_path, LONE) as store:
        save(store, 2)
    assert "without locks" in caplog.text
    assert entries(tmp_path) == ["step-00000001.new-0123abcd", "step-00000002"]


def test_other_things_in_the_folder_are_left_alone(tmp_path):
    names = ["step-1", "step-000000012", "step-00000001.old", "best", "step-00000009 copy", "step-00000003.new-xyz"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000005").symlink_to(tmp_path / "best")
    with CheckpointStore(tmp_path, LONE, keep_last=1) as store:
        save(store, 6)
        assert [entry.step for entry in store.checkpoints()] == [6]
    assert entries(tmp_path) == sorted([*names, "step-00000005", "step-00000006"])


def test_a_folder_that_cannot_be_made_is_the_same_error_on_all_ranks(tmp_path):
    (tmp_path / "file").write_text("")

    def attempt(runtime):
        with pytest.raises(InputError, match=str(tmp_path / "file")):
            CheckpointStore(tmp_path / "file" / "checkpoints", runtime)

    run_ranks(attempt, 2)
