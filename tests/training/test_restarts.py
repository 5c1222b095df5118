"""Restarts without progress are counted and ended; progress and a start by hand begin the count anew."""

import pytest

from recognition.errors import GivingUp, InputError
from recognition.training.restarts import note_restart, require_progress
from tests.ranks import run_ranks


def given_up_at(folder, steps, limit=3):
    """The restart at which a run gives up that finds a checkpoint of these steps at its starts; None = never."""
    for restarts, step in enumerate(steps):
        try:
            note_restart(folder, step, restarts=restarts, limit=limit)
        except GivingUp:
            return restarts
    return None


@pytest.mark.parametrize(
    ("steps", "limit", "restart"),
    [
        ([None] * 9, 3, 4),  # three restarts without a checkpoint are let go, the fourth is not
        ([100] * 9, 3, 4),
        ([None] * 4, 3, None),
        ([None] * 9, 1, 2),
        ([None, None, None, None, 100, 100, 100, 100], 3, 7),  # the first with the checkpoint of 100 counts for it
        ([0, 100, 200, 300, 400, 500, 600, 700, 800], 3, None),
        ([None, 0, 0, 0, 0], 3, 4),  # a checkpoint of step 0 is one
        ([300, 200, 200, 200, 200], 3, 4),  # the newest was damaged: falling back is no progress
        ([300, 200, 250, 250, 250, 250], 3, 5),
    ],
)
def test_so_many_restarts_without_a_newer_checkpoint_end_the_run(tmp_path, steps, limit, restart):
    assert given_up_at(tmp_path, steps, limit) == restart


def test_once_given_up_it_stays_so_until_people_start_the_run(tmp_path):
    assert given_up_at(tmp_path, [5] * 9) == 4
    for restarts in (5, 6):
        with pytest.raises(GivingUp):
            note_restart(tmp_path, 5, restarts=restarts, limit=3)
    assert given_up_at(tmp_path, [5] * 9) == 4  # began with restarts=0


def test_the_message_says_what_and_where(tmp_path):
    note_restart(tmp_path, 40, restarts=0, limit=0)
    with pytest.raises(InputError, match=r"restarted 0 times in a row, the newest checkpoint is still that of step 40"):
        note_restart(tmp_path, 40, restarts=1, limit=0)
    note_restart(tmp_path, None, restarts=0, limit=0)
    with pytest.raises(GivingUp, match=f"^{tmp_path}: .* there is no checkpoint yet; giving up"):
        note_restart(tmp_path, None, restarts=1, limit=0)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"newest_step": null, "fruitless_restarts": 9}', "\0"])
def test_a_damaged_count_does_not_keep_the_run_from_going_on(tmp_path, text):
    (tmp_path / "restarts.json").write_text(text)
    assert given_up_at(tmp_path, [7, 7, 7, 7]) is None
    (tmp_path / "restarts.json").write_text(text)
    note_restart(tmp_path, 7, restarts=8, limit=3)


def decide(runtime, folder, restarts):
    try:
        require_progress(folder, 7, restarts=restarts, limit=1, runtime=runtime)
    except GivingUp as error:
        return str(error)
    return "goes on"


@pytest.mark.parametrize("world", [1, 3])
def test_all_ranks_give_up_together(tmp_path, world):
    assert [run_ranks(decide, world, tmp_path, restarts) for restarts in (0, 1)] == [["goes on"] * world] * 2
    first, *others = run_ranks(decide, world, tmp_path, 2)
    assert first.startswith(f"{tmp_path}: restarted 1 times in a row")
    assert others == [first] * (world - 1)
