"""Which checkpoints stay: the rule against one spelt out step by step, and against a folder."""

import itertools

import numpy as np
import pytest

from recognition.checkpoint import CheckpointStore
from recognition.checkpoint.retention import retained
from recognition.errors import InputError
from tests.checkpoint.small_checkpoints import LONE, assert_is_of, entries, save


def stays(step, steps, best_steps, keep_last, keep_every_steps, keep_best):
    """The promise of each key in its own words."""
    newer = [other for other in steps if other > step]
    among_last = len(newer) < keep_last
    multiple = keep_every_steps > 0 and step // keep_every_steps * keep_every_steps == step
    better = [other for other in best_steps if other > step]
    return among_last or multiple or (keep_best and step in best_steps and not better)


@pytest.mark.parametrize("keep_best", [False, True])
def test_the_rule_equals_its_wording(keep_best):
    rng = np.random.default_rng(0)
    for keep_last, every in itertools.product((1, 2, 5), (0, 1, 7, 10)):
        for _ in range(50):
            steps = sorted(rng.choice(100, rng.integers(1, 12), replace=False).tolist())
            best = [step for step in steps if rng.random() < 0.3]
            kept = retained(steps, best, keep_last=keep_last, keep_every_steps=every, keep_best=keep_best)
            assert kept == {step for step in steps if stays(step, steps, best, keep_last, every, keep_best)}
            assert steps[-1] in kept


def test_a_folder_after_every_save(tmp_path):
    rng = np.random.default_rng(1)
    with CheckpointStore(tmp_path, LONE, keep_last=2, keep_every_steps=20, keep_best=True) as store:
        there, best = [], []
        for step in range(3, 100, 3):
            is_best = bool(rng.random() < 0.2)
            save(store, step, is_best=is_best)
            there.append(step)
            best += [step] * is_best
            there = [each for each in there if stays(each, there, best, 2, 20, True)]
            assert [entry.step for entry in store.checkpoints()] == there
            assert entries(tmp_path) == [f"step-{each:08d}" for each in there]
        assert len(best) > 2
        assert_is_of(store.newest(pytest.fail), 99)


def test_damaged_checkpoints_do_not_push_sound_ones_out(tmp_path):
    with CheckpointStore(tmp_path, LONE, keep_last=5) as store:
        paths = [save(store, step) for step in (10, 20, 30, 40)]
    for path in paths[2:]:
        (path / "state.json").write_text("{}")
    with CheckpointStore(tmp_path, LONE, keep_last=2) as store:
        assert_is_of(store.newest(lambda line: None), 20)
        # Steps 30 and 40 are newer by their names, and worthless.
        save(store, 25)
        assert [entry.step for entry in store.checkpoints()] == [20, 25, 30, 40]
        save(store, 30)
        save(store, 45)
        assert [entry.step for entry in store.checkpoints()] == [30, 40, 45]
        assert_is_of(store.newest(pytest.fail), 45)


def test_a_checkpoint_that_was_just_written_stays(tmp_path):
    with CheckpointStore(tmp_path, LONE, keep_last=1) as store:
        save(store, 40)
        save(store, 10)
        assert [entry.step for entry in store.checkpoints()] == [10, 40]


def test_old_ones_that_cannot_be_removed_do_not_fail_the_save(tmp_path, monkeypatch, caplog):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    with CheckpointStore(tmp_path, LONE, keep_last=1) as store:
        save(store, 1)
        monkeypatch.setattr("recognition.checkpoint.store.remove", refuse)
        save(store, 2)
        assert "not removed: Permission denied" in caplog.text
        assert_is_of(store.newest(pytest.fail), 2)


def test_at_least_one_is_to_be_kept(tmp_path):
    with pytest.raises(InputError, match="at least 1"):
        CheckpointStore(tmp_path, LONE, keep_last=0)
