"""Rates against counting by hand: CMC, DIR at FPIR, intervals, and probes in which no face was found."""

import numpy as np
import pytest

from recognition.identification.rates import FPIRS, RANKS, rates_of
from recognition.identification.search import Searched
from recognition.verification.intervals import wilson_interval


def searched(seed, mated=120, strangers=400, wrong=0.2):
    """Made-up searches: some mated probes have somebody else first."""
    rng = np.random.default_rng(seed)
    rank = np.where(rng.random(mated) < wrong, rng.integers(2, 80, mated), 1)
    rank = np.r_[rank, np.zeros(strangers, int)]
    best = np.round(np.r_[rng.normal(0.6, 0.1, mated), rng.normal(0.35, 0.1, strangers)], 2)
    order = rng.permutation(len(rank))
    precision = np.where(rank > 0, 1 / np.maximum(rank, 1), np.nan)
    nothing = np.full(len(rank), -1)
    fields = (best.astype(np.float32), nothing, np.full(len(rank), np.nan), nothing, rank, precision)
    return Searched(*(field[order] for field in fields))


def test_the_cmc_counts_ranks():
    found = searched(0)
    rates = rates_of(found)
    ranks = [rank for rank in found.rank_Q if rank > 0]
    assert (rates.mated, rates.nonmated, rates.missing) == (120, 400, 0)
    for rank in (1, 2, 7, 50):
        assert rates.cmc[rank - 1] == sum(r <= rank for r in ranks) / 120
    assert len(rates.cmc) == 50
    assert rates.ranks == {rank: rates.cmc[rank - 1] for rank in RANKS}
    assert rates.rank_intervals[5] == wilson_interval(rates.ranks[5], 120)
    assert rates.mean_average_precision == pytest.approx(np.mean([1 / r for r in ranks]), abs=1e-12)


@pytest.mark.parametrize("missing", [0, 30])
def test_dir_is_the_share_found_above_what_strangers_reach(missing):
    found = searched(1)
    rates = rates_of(found, missing=missing)
    best = found.best_Q.astype(float)
    strangers = sorted((best[q] for q in range(520) if found.rank_Q[q] == 0), reverse=True)
    assert [point.fpir for point in rates.open_set] == list(FPIRS)
    for point in rates.open_set:
        allowed = int(point.fpir * 400 + 1e-9)
        assert point.allowed_false_accepts == allowed
        if not allowed:
            assert (point.dir, point.threshold, point.flag) == (None, None, "too_few_nonmated")
            continue
        threshold = strangers[allowed]  # the first one too many must not be above it
        assert point.threshold == threshold
        right = sum(found.rank_Q[q] == 1 and best[q] > threshold for q in range(520))
        assert point.dir == right / (120 + missing)
        assert (point.low, point.high) == wilson_interval(point.dir, 120 + missing)
        assert point.flag == (None if allowed >= 10 else "few_nonmated")
    assert rates.cmc[0] == sum(found.rank_Q == 1) / (120 + missing)
    average = np.nansum(found.precision_Q) / (120 + missing)
    assert rates.mean_average_precision == pytest.approx(average, abs=1e-12)


def test_the_curve_holds_what_each_threshold_gives():
    found = searched(2)
    fpir, share, cosine = rates_of(found).curve
    best = found.best_Q.astype(float)
    assert (np.diff(fpir) > 0).all()
    assert fpir[0] == 0
    for k in (0, len(fpir) // 2, len(fpir) - 1):
        assert fpir[k] == sum(best[q] > cosine[k] for q in range(520) if found.rank_Q[q] == 0) / 400
        assert share[k] == sum(best[q] > cosine[k] for q in range(520) if found.rank_Q[q] == 1) / 120


def test_without_strangers_there_is_no_open_set_and_without_mated_probes_no_rank():
    closed = rates_of(searched(3, strangers=0))
    assert (closed.open_set, closed.curve) == ((), None)
    only = rates_of(searched(3, mated=0))
    assert (only.cmc, only.ranks, only.mean_average_precision, only.open_set) == ((), {}, None, ())
