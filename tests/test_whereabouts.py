"""What the ranks say of themselves, and whom a report blames: pure functions on hand-made situations."""

import json

import pytest

from recognition.whereabouts import Beat, Peer, Place, blame, decoded

HERE = Place("all_gather of embeddings", 17, since_s=100.0, collective=True)


def peer(rank, *, step=17, phase=HERE.phase, silent_s=0.2, phase_s=1.0, ended=False):
    return Peer(rank, Beat(rank, 5, step, phase, phase_s, 0.0, ended), silent_s)


def test_a_beat_travels_as_json():
    beat = Beat(3, 17, None, "reading é", 1.5, 1e9, ended=True)
    assert decoded(beat.encoded().encode()) == beat
    assert json.loads(beat.encoded())["phase"] == "reading é"


def test_silence_is_the_time_without_a_new_beat():
    other = Peer(1)
    for elapsed_s in (0.5, 1.0):
        other.hear(None, elapsed_s)
    assert (other.silent_s, other.beat) == (1.5, None)
    first = Beat(1, 1, 0, "forward", 0.0, 0.0)
    other.hear(first, 1.0)
    assert (other.silent_s, other.beat) == (0.0, first)
    other.hear(first, 1.0)
    other.hear(first, 0.25)
    assert other.silent_s == 1.25
    second = Beat(1, 2, 0, "forward", 0.0, 0.0)
    other.hear(second, 1.0)
    assert (other.silent_s, other.beat) == (0.0, second)


@pytest.mark.parametrize(
    ("peers", "text"),
    [
        (
            [peer(1, phase="forward", silent_s=10.24), peer(2, step=3)],
            "rank 1 has not been heard of for 10.2 s (last: step 17, forward)",
        ),
        ([Peer(2, None, 6.0)], "rank 2 has not been heard of for 6.0 s (never since the start)"),
        ([peer(1, silent_s=10.0, ended=True)], "rank 1 ended (last: step 17, all_gather of embeddings)"),
        (
            [peer(1, step=16, phase="loading", phase_s=11.0), peer(2, phase="forward")],
            "rank 1 is alive and has stood at step 16, loading, for 11.0 s",
        ),
        (
            [peer(1, step=None, phase="the start"), peer(2, step=0)],
            "rank 1 is alive and has stood at the start, for 1.0 s",
        ),
        (
            [peer(1), peer(2, phase="reduce_scatter of rows")],
            "rank 2 is alive and has stood at step 17, reduce_scatter of rows, for 1.0 s",
        ),
        ([peer(1), peer(2)], "every rank is alive and says that it is there too"),
    ],
)
def test_whom_a_report_blames(peers, text):
    assert blame(peers, HERE, silent_limit_s=5.0) == text


def test_a_long_list_of_ranks_is_cut_short():
    text = blame([peer(rank, silent_s=9.0) for rank in range(1, 31)], HERE, silent_limit_s=5.0)
    assert [f"rank {rank} has" in text for rank in (1, 4, 5)] == [True, True, False]
    assert text.endswith("; and 26 more ranks")


def test_a_place_is_told_with_its_step_once_there_is_one():
    assert HERE.text == "all_gather of embeddings (step 17)"
    assert Place("loading", None, 0.0).text == "loading"
