"""Everyone against everyone: counts and extremes equal those of every pair taken by itself, for any block and world."""

import numpy as np
import pytest
import torch

from recognition.errors import InputError
from recognition.identification.all_to_all import BINS, STEPS, _blocks, count_cosines
from recognition.runtime import Runtime
from tests.ranks import run_ranks


def signs(count: int, dim: int = 64, people: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of +-1 (of any norm, on purpose), whose cosines are whole 64ths: no order of adding rounds them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, people, count) * 7 - 3
    rows = np.where(rng.normal(size=(count, dim)) + 0.8 * (labels[:, None] * np.arange(1, dim + 1) % 5 - 2) > 0, 1, -1)
    return (rows * 2.0 ** rng.integers(-2, 3, (count, 1))).astype(np.float32), labels


def by_hand(rows, labels):
    """Counts of both kinds, and (cosine, first, second) of every pair, in float64."""
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    counts, pairs = np.zeros((2, BINS), np.int64), ([], [])
    for first in range(len(rows)):
        for second in range(first + 1, len(rows)):
            cosine = float(unit[first] @ unit[second])
            kind = int(labels[first] != labels[second])
            counts[kind, round(cosine * STEPS) + STEPS] += 1
            pairs[kind].append((cosine, first, second))
    return counts, pairs


def assert_equal_by_hand(found, rows, labels):
    counts, (genuine, impostor) = by_hand(rows, labels)
    np.testing.assert_array_equal(found.genuine_K, counts[0])
    np.testing.assert_array_equal(found.impostor_K, counts[1])
    assert (found.num_genuine, found.num_impostor) == (len(genuine), len(impostor))
    for extremes, pairs, sign in ((found.impostors, impostor, -1), (found.genuines, genuine, 1)):
        expected = sorted(sign * cosine for cosine, _, _ in pairs)[: len(extremes)]
        assert [sign * extreme.cosine for extreme in extremes] == pytest.approx(expected, abs=1e-12)
        cosine_of = {(first, second): cosine for cosine, first, second in pairs}
        places = [(extreme.first, extreme.second) for extreme in extremes]
        assert len(set(places)) == len(places) == min(6, len(pairs))
        for extreme in extremes:
            assert cosine_of[extreme.first, extreme.second] == pytest.approx(extreme.cosine, abs=1e-12)


@pytest.mark.parametrize("block_rows", [1, 2, 7, 16, 50, 64])
def test_every_pair_counts_once_whatever_the_blocks(block_rows):
    rows, labels = signs(50)
    assert_equal_by_hand(count_cosines(rows, labels, runtime=Runtime(), block_rows=block_rows), rows, labels)


@pytest.mark.parametrize("people", [2, 45])
def test_few_and_many_people(people):
    rows, labels = signs(45, people=people, seed=3)
    assert_equal_by_hand(count_cosines(rows, labels, runtime=Runtime(), block_rows=8), rows, labels)


def test_the_default_block_counts_pairs_of_real_numbers_in_the_nearest_step():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 40, 1500)
    rows = (rng.normal(size=(40, 32))[labels] + rng.normal(size=(1500, 32))).astype(np.float32)
    found = count_cosines(rows, labels, runtime=Runtime())
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    cosines, (first, second) = unit @ unit.T, np.triu_indices(1500, 1)
    same = labels[first] == labels[second]
    steps = cosines[first, second] * STEPS
    # float32 sums differ from float64 ones by at most 3e-7, a hundredth of a step: what lies nearer to a half may go
    # either way, all else may not.
    sure = np.abs(steps - np.floor(steps) - 0.5) > 0.02
    for counts_K, kind in ((found.genuine_K, same), (found.impostor_K, ~same)):
        least_K = np.bincount(np.rint(steps[kind & sure]).astype(int) + STEPS, minlength=BINS)
        unsure = np.floor(steps[kind & ~sure]).astype(int) + STEPS
        most_K = least_K + np.bincount(unsure, minlength=BINS) + np.bincount(unsure + 1, minlength=BINS)
        assert counts_K.sum() == kind.sum()
        assert (least_K <= counts_K).all()
        assert (counts_K <= most_K).all()
    assert found.impostors[0].cosine == pytest.approx(cosines[first, second][~same].max(), abs=1e-6)
    assert found.genuines[0].cosine == pytest.approx(cosines[first, second][same].min(), abs=1e-6)


def test_the_worst_are_told_apart_within_a_step():
    rows, labels = np.eye(10, dtype=np.float32), np.r_[np.arange(9), 8]
    rows[9] = rows[8]
    for first, second, cosine in ((0, 2, 0.5), (4, 6, 0.5 + 1e-5)):  # both count in one step; the later is the worse
        rows[second] = 0
        rows[second, [first, second]] = cosine, np.sqrt(1 - cosine**2)
    found = count_cosines(rows, labels, runtime=Runtime(), block_rows=2, worst=1)
    assert found.impostor_K[STEPS // 2 + STEPS] == 2
    assert [(extreme.first, extreme.second) for extreme in found.impostors] == [(4, 6)]


def test_blocks_cover_every_pair_once():
    for count in (1, 5, 8, 9):
        seen = np.zeros((count, count), int)
        for rows, columns in _blocks(count, 4):
            seen[rows, columns] += 1
        assert (np.triu(seen, 1) == np.triu(np.ones_like(seen), 1)).all()


def counted_on_rank(runtime, block_rows):
    rows, labels = signs(60, seed=5)
    return count_cosines(rows, labels, runtime=runtime, block_rows=block_rows)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_blocks_and_agree(world):
    expected = counted_on_rank(Runtime(), 7)
    for found in run_ranks(counted_on_rank, world, 7):
        np.testing.assert_array_equal(found.genuine_K, expected.genuine_K)
        np.testing.assert_array_equal(found.impostor_K, expected.impostor_K)
        assert (found.impostors, found.genuines) == (expected.impostors, expected.genuines)


def blocks_taken(runtime):
    taken = []
    multiply = torch.mm
    torch.mm = lambda *args, **options: taken.append(1) or multiply(*args, **options)
    try:
        counted_on_rank(runtime, 10)
    finally:
        torch.mm = multiply
    return len(taken)


def test_each_rank_takes_its_share_of_the_blocks():
    assert run_ranks(blocks_taken, 2) == [11, 10]  # 6 * 7 / 2 blocks in all


def test_more_ranks_than_blocks():
    expected = counted_on_rank(Runtime(), 64)
    for found in run_ranks(counted_on_rank, 3, 64):
        np.testing.assert_array_equal(found.impostor_K, expected.impostor_K)
        assert found.genuines == expected.genuines


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_embeddings_that_say_nothing_are_named(bad):
    rows, labels = signs(30)
    rows[17] = bad
    with pytest.raises(InputError, match="1 of 30 embeddings are zero, NaN or infinite, first that of picture 17"):
        count_cosines(rows, labels, runtime=Runtime())


@pytest.mark.parametrize("labels", [np.zeros(4), np.arange(4), np.zeros(3)])
def test_both_kinds_of_pairs_are_needed(labels):
    with pytest.raises(InputError, match="needs two people at least|give one for each"):
        count_cosines(np.eye(4, dtype=np.float32), labels, runtime=Runtime())
