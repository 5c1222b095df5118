"""The vote at the end of a step: what it counts, how it is read, and what status.json says of how a run ended."""

import json
import random
from contextlib import nullcontext

import pytest
import torch

from recognition.errors import Stopped
from recognition.runtime import Runtime
from recognition.training.run_directory import read_status, status_of
from recognition.training.vote import Agreed, Vote
from tests.ranks import run_ranks

GOOD, BAD, OVERFLOW, BOTH = "good", "bad", "overflow", "both"


def cast(vote, kind=GOOD, **wishes):
    is_bad, overflow = torch.tensor(kind in (BAD, BOTH)), torch.tensor(kind in (OVERFLOW, BOTH))
    return vote.cast(is_bad=is_bad, overflow=overflow, **wishes)


def rows_after(kinds):
    """The row of bad steps at the end of `kinds`, and the longest one in them."""
    vote = Vote(Runtime())
    for kind in kinds:
        cast(vote, kind)
    return vote.in_a_row.item(), vote.longest_row()


@pytest.mark.parametrize(
    ("kinds", "in_a_row", "longest"),
    [
        ((BAD, OVERFLOW, BAD), 2, 2),
        ((BAD, GOOD, BAD), 1, 1),
        ((BAD, BAD, GOOD), 0, 2),
        ((OVERFLOW, OVERFLOW, OVERFLOW), 0, 0),
        ((BOTH, BOTH), 2, 2),
    ],
)
def test_an_overflow_is_no_bad_step_and_no_good_one_either(kinds, in_a_row, longest):
    assert rows_after(kinds) == (in_a_row, longest)


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_those_that_are_left_when_overflows_are_crossed_out(seed):
    kinds = random.Random(seed).choices([GOOD, BAD, OVERFLOW, BOTH], k=30)
    letters = "".join("b" if kind in (BAD, BOTH) else "g" for kind in kinds if kind != OVERFLOW)
    rows = [len(row) for row in letters.split("g")]
    assert rows_after(kinds) == (rows[-1], max(rows))


def test_the_longest_row_is_told_once_and_a_row_that_lasts_is_told_again():
    vote = Vote(Runtime())
    for kind in (BAD, BAD, BAD, GOOD, BAD):
        cast(vote, kind)
    assert [vote.longest_row(), vote.longest_row()] == [3, 1]
    cast(vote, BAD)
    assert vote.longest_row() == 2


@pytest.mark.parametrize("kind", [GOOD, BAD, OVERFLOW, BOTH])
@pytest.mark.parametrize(("stop", "save"), [(False, False), (True, False), (False, True), (True, True)])
def test_each_vote_is_read_under_its_own_name(kind, stop, save):
    ballot = cast(Vote(Runtime()), kind, stop=stop, save=save)
    assert ballot.read() == Agreed(is_skipped=kind != GOOD, stop=stop, save=save, is_bad=kind in (BAD, BOTH))
    assert ballot.skip.item() == float(kind != GOOD)


def wishes_of_ranks(runtime):
    vote = Vote(runtime)
    ballot = cast(vote, BAD if runtime.rank == 2 else GOOD, stop=runtime.rank == 0, save=runtime.rank == 1)
    nobody = cast(vote)
    return ballot.read(), nobody.read(), vote.longest_row()


def test_what_one_rank_says_holds_for_all():
    everything, nothing = Agreed(True, True, True, True), Agreed(False, False, False, False)
    assert run_ranks(wishes_of_ranks, 3) == [(everything, nothing, 1)] * 3


@pytest.mark.parametrize(
    ("error", "state", "why"),
    [
        (None, "finished", None),
        (Stopped("SIGTERM at step 5"), "stopped", "Stopped: SIGTERM at step 5"),
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt: "),
        (ValueError("no such thing"), "failed", "ValueError: no such thing"),
        (SystemExit(3), "failed", "SystemExit: 3"),
    ],
)
def test_status_says_how_a_run_ended_and_at_which_step(tmp_path, error, state, why):
    seen = []
    with nullcontext() if error is None else pytest.raises(type(error)) as found:
        with status_of(tmp_path, Runtime(), first=2, last=9) as status:
            seen.append(read_status(tmp_path))
            status.at(4, is_stored=True)
            seen.append(read_status(tmp_path))
            status.at(5, is_stored=False)
            seen.append(read_status(tmp_path))
            if error is not None:
                raise error
    assert error is None or found.value is error
    assert [(each["state"], each["step"], each["steps"]) for each in seen] == [
        ("running", 2, 9),
        ("running", 4, 9),
        ("running", 4, 9),
    ]
    ended = json.loads((tmp_path / "status.json").read_text())
    assert (ended["state"], ended["step"], ended["steps"], ended.get("why")) == (state, 5, 9, why)


def test_only_the_main_rank_writes_it(tmp_path):
    with status_of(tmp_path, Runtime(rank=1, world=2), first=0, last=9) as status:
        status.at(4, is_stored=True)
    assert list(tmp_path.iterdir()) == []
