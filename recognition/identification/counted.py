"""Error rates of cosines that were counted: the ROC and the points on it, with intervals over people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from recognition.collectives import all_reduce_sum
from recognition.identification.all_to_all import BINS, BLOCK_ROWS, STEPS, CosineCounts
from recognition.runtime import Runtime
from recognition.verification.curves import allowed_false_accepts
from recognition.verification.intervals import Z

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def roc_of_counts(counts: CosineCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False accept rate, true accept rate and squared distance at every cosine that occurs, the highest first.

    As curves.roc_curve has them: a point accepts up to and including its distance 2 - 2 cos; the first accepts nobody.
    """
    occurs_K = np.flatnonzero(counts.genuine_K + counts.impostor_K)[::-1]
    far, tar = (of_kind[occurs_K].cumsum() / of_kind.sum() for of_kind in (counts.impostor_K, counts.genuine_K))
    return np.r_[0.0, far], np.r_[0.0, tar], np.r_[-np.inf, 2 - 2 * cosine_of(occurs_K)]


def threshold_bins(counts: CosineCounts, fars: Sequence[float] = FARS) -> list[int | None]:
    """For each FAR the bin above which pairs are accepted: the fullest that lets in at most that share of impostors.

    None with fewer than 1/FAR impostors.
    """
    at_or_above_K = counts.impostor_K[::-1].cumsum()[::-1]
    bins = []
    for far in fars:
        allowed = allowed_false_accepts(far, counts.num_impostor)
        bins.append(int(np.flatnonzero(at_or_above_K > allowed)[-1]) if allowed else None)
    return bins


def cosine_of(bins: np.ndarray | int) -> np.ndarray | float:
    """The cosine that a bin stands for."""
    return (bins - STEPS) / STEPS


@dataclass(frozen=True)
class People:
    """How many pairs of each of C people there are, int64 (C,), and how many of these are accepted, int64 (C, F)."""

    pairs_C: np.ndarray
    accepted_CF: np.ndarray

    def effective_pairs(self, place: int) -> float:
        """As many independent pairs as would make the share accepted (at FAR number `place`) as sure as these do.

        Pairs of one person share pictures and stand or fall together: the variance of the share p is that of a ratio of
        sums over people (Cochran, Sampling Techniques, 1977, eq. 6.4), and p (1 - p) / variance the number sought.
        Where all are accepted or none, the variance says nothing, and only the number of people counts.
        """
        has_pairs_C = self.pairs_C > 0
        pairs_C, accepted_C = self.pairs_C[has_pairs_C], self.accepted_CF[has_pairs_C, place]
        share = accepted_C.sum() / pairs_C.sum()
        people = len(pairs_C)
        if share in (0, 1) or people == 1:
            return float(people)
        deviation_C = accepted_C - share * pairs_C
        variance = people / (people - 1) * np.square(deviation_C).sum() / pairs_C.sum() ** 2
        return float(share * (1 - share) / variance) if variance > 0 else float(pairs_C.sum())


class Difference(NamedTuple):
    """Of two shares: the first less the second, its 95 % interval, and how likely chance alone makes as large a one."""

    difference: float
    low: float
    high: float
    p_value: float


def share_difference(one: People, other: People, place: int) -> Difference:
    """How the share accepted (at FAR number `place`) differs between two models that saw the same people.

    Paired by person, as `effective_pairs` has it of one model: the differences of a person's accepted pairs vary, not
    the pairs. The normal distribution of a sum over many people is taken for granted; where k people make all of the
    difference, the p-value is at least 2^(1 - k), the least that swapping the models person by person can give.
    """
    between_C = one.accepted_CF[:, place] - other.accepted_CF[:, place]
    has_pairs_C = one.pairs_C > 0
    between_C, pairs_C = between_C[has_pairs_C], one.pairs_C[has_pairs_C]
    people, difference = len(pairs_C), between_C.sum() / pairs_C.sum()
    if not between_C.any() or people == 1:
        return Difference(float(difference), float(difference), float(difference), 1.0)
    variance = people / (people - 1) * np.square(between_C - difference * pairs_C).sum() / pairs_C.sum() ** 2
    error = math.sqrt(variance)
    normal_p = math.erfc(abs(difference) / error / math.sqrt(2)) if error else 0.0
    p_value = max(normal_p, 2.0 ** (1 - np.count_nonzero(between_C)))
    return Difference(float(difference), float(difference - Z * error), float(difference + Z * error), p_value)


def people_accepted(
    emb_ND: np.ndarray, labels_N: np.ndarray, bins: Sequence[int | None], *, runtime: Runtime
) -> People:
    """How many genuine pairs of each person lie above each of the bins (None: none do); ranks share the people."""
    order_N = np.argsort(labels_N, kind="stable")
    _, starts_C, sizes_C = np.unique(labels_N[order_N], return_index=True, return_counts=True)
    limits_F = torch.tensor([BINS if limit is None else limit for limit in bins])
    accepted_CF = torch.zeros(len(sizes_C), len(bins), dtype=torch.int64)
    for person in range(runtime.rank, len(sizes_C), runtime.world):
        rows = order_N[starts_C[person] : starts_C[person] + sizes_C[person]]
        unit_SD = torch.nn.functional.normalize(torch.from_numpy(np.asarray(emb_ND[rows], np.float32)))
        for start in range(0, len(rows), BLOCK_ROWS):
            # From the diagonal on: each pair of the person once.
            cos_RS = unit_SD[start : start + BLOCK_ROWS] @ unit_SD[start:].T
            bins_RS = (cos_RS * STEPS).round_().to(torch.int32).add_(STEPS)
            once_P = bins_RS[torch.ones_like(cos_RS, dtype=torch.bool).triu_(1)]
            accepted_CF[person] += (once_P[:, None] > limits_F).sum(dim=0)
    accepted_CF = all_reduce_sum(accepted_CF.to(runtime.device), runtime, what="accepted pairs by person").cpu()
    return People(sizes_C * (sizes_C - 1) // 2, accepted_CF.numpy())
