"""Goal: one rank of a whole run is slow: it is named, and verification may take longer than the timeout."""

import re

import pytest

from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.faults.faults import injected
from tests.ranks import run_ranks
from tests.training.small_runs import small

TIMEOUT_S = 3.0
# Rank 1 embeds 120 of the 240 pictures, in batches of 32 and from both sides: eight passes of its network.
PASSES = 8


def run(runtime, folder, *faults):
    options = ("num_image=400", "max_steps=20", "frequent=10", "val_targets=['synthetic']")
    with injected(faults):
        return train(small(folder, *options), runtime)


def test_a_slow_rank_is_waited_for_and_named(tmp_path):
    run_ranks(run, 2, tmp_path / "even")
    verify_s = 3.2 * TIMEOUT_S / PASSES
    faults = ("slow:rank=1,seconds=0.2", f"verify:rank=1,seconds={verify_s}")
    run_ranks(run, 2, tmp_path / "uneven", *faults, collective_timeout_s=TIMEOUT_S, timeout_s=120)
    even, uneven = tmp_path / "even" / "run", tmp_path / "uneven" / "run"
    row = next(row for row in read_rows(uneven, "train") if "slowest_rank" in row)
    assert row["step"] <= 50
    assert row["slowest_rank"] == 1
    assert row["slowest_s"] - row["median_s"] == pytest.approx(0.1, abs=0.05)  # of two ranks, the median is the mean
    assert row["compute_by_rank"][1] - row["compute_by_rank"][0] == pytest.approx(0.2, abs=0.1)
    assert max(row["data_wait_by_rank"]) < 0.1
    assert re.search(r"rank 1 is slow: 0\.\d\d s of compute a step, the others", (uneven / "training.log").read_text())
    assert "is slow" not in (even / "training.log").read_text()
    scores = [[(row["accuracy"], row["xnorm"]) for row in read_rows(path, "verification")] for path in (even, uneven)]
    assert len(scores[0]) == 1
    assert scores[0] == scores[1]
