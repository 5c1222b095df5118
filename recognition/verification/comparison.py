"""Several models on the same pairs: is the difference real, or would other pairs have turned it round?

Differences are those on the same resamples (`bootstrap.py`). One pair was not seen; on it the models differ as much as
on any that was, for the one end in favour of the first and for the other in favour of the second. So a difference on a
handful of pairs, all in favour of one model, has the p-value of the sign test, and not hardly any.
McNemar's exact test takes the thresholds for given; as each model chose its own on these very pairs, it finds a
difference where there is none in 5 to 9 % of all sets. So a difference in accuracy has to convince both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from recognition.verification.bootstrap import PAIRS, Replicates, interval_of, require_same_pairs
from recognition.verification.intervals import holm, mcnemar_p
from recognition.verification.protocol import VerificationResult, fold_numbers

LEVEL = 0.05
MCNEMAR, BOOTSTRAP = "McNemar exact", "paired bootstrap"
BOTH, BY_PEOPLE = f"{MCNEMAR} and {BOOTSTRAP}", f"{BOOTSTRAP} over people"
LOWER_IS_BETTER = ("eer",)
_ROUNDING = 1e-12  # of a mean over folds


@dataclass(frozen=True)
class Comparison:
    """A figure of model `first` less that of model `second`, with its 95 % interval.

    `p_value`: how likely chance alone makes so large a difference; `p_adjusted`: the same, raised for the number of
    pairs of models (Holm); `verdict`: what that means, in a sentence.
    """

    first: int
    second: int
    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    method: str
    verdict: str


def compare_pairs(results: Sequence[VerificationResult], replicates: Sequence[Replicates]) -> list[Comparison]:
    """Every two of the models by every metric that `replicates` (of resample_pairs, the same resamples for all) have.

    A p-value is twice the share of resamples in which the difference is none or has the other sign; that of accuracy is
    the larger of this one and McNemar's exact test's on the pairs that just one model judges rightly, unless people
    were resampled: McNemar takes every pair for independent. InputError when the pairs differ.
    """
    require_same_pairs(results)
    placed = [_placed(result) for result in results]
    found = []
    for first, second in combinations(range(len(results)), 2):
        two = results[first], results[second]
        one, other = replicates[first], replicates[second]
        unseen = _unseen(two, np.abs(placed[first] - placed[second]), one)
        for metric in one.values:
            between_R = (one.values[metric] - other.values[metric]).mean(axis=0)
            difference = _figure(two[0], metric) - _figure(two[1], metric)
            low_R, high_R = between_R - unseen[metric], between_R + unseen[metric]
            # The real set is one of those that might have been drawn: hence the 1, and never a p-value of 0.
            against = min((low_R <= 0).sum(), (high_R >= 0).sum())
            p_value, method = min(2 * (float(against) + 1) / (len(low_R) + 1), 1.0), BOOTSTRAP
            if one.unit != PAIRS:
                method = BY_PEOPLE
            elif metric == "accuracy":
                right, too = rightly_judged(two[0]), rightly_judged(two[1])
                p_value = max(p_value, mcnemar_p(int((right & ~too).sum()), int((too & ~right).sum())))
                method = BOTH
            ends = interval_of(low_R, high_R)
            found.append(Comparison(first, second, metric, difference, *ends, p_value, p_value, method, ""))
    return judged(found)


def judged(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same with `p_adjusted` over the pairs of models of each metric, and the verdict that follows from it."""
    by_metric = defaultdict(list)
    for place, entry in enumerate(comparisons):
        by_metric[entry.metric].append(place)
    done = list(comparisons)
    for metric, places in by_metric.items():
        for place, adjusted in zip(places, holm([comparisons[place].p_value for place in places])):
            verdict = _verdict(metric, done[place].difference, adjusted)
            done[place] = replace(done[place], p_adjusted=adjusted, verdict=verdict)
    return done


def rightly_judged(result: VerificationResult) -> np.ndarray:
    """Which pairs are judged rightly at the threshold of their fold, bool (P,)."""
    fold_P = fold_numbers(len(result.issame_P), len(result.fold_thresholds))
    return (result.distances_P < np.array(result.fold_thresholds)[fold_P]) == result.issame_P


def _unseen(
    two: tuple[VerificationResult, VerificationResult], between_P: np.ndarray, replicates: Replicates
) -> dict[str, np.ndarray]:
    """By metric what the pair (R,) that was not seen does to the difference of two models.

    `between_P`: how far apart the models place each pair among those of the other kind, a share.
    """
    first, second = two
    differ = float(not np.array_equal(first.distances_P, second.distances_P))
    genuine_R, impostor_R = replicates.unseen_genuine_R * differ, replicates.unseen_impostor_R * differ
    genuine_share = first.num_genuine / len(first.issame_P)
    areas = genuine_R * between_P[first.issame_P].max(), impostor_R * between_P[~first.issame_P].max()
    unseen = dict.fromkeys(replicates.values, genuine_R)
    unseen["accuracy"] = genuine_R * genuine_share
    unseen["auc"] = max(areas, key=np.mean)
    unseen["eer"] = genuine_R if genuine_share <= 0.5 else impostor_R
    return unseen


def _placed(result: VerificationResult) -> np.ndarray:
    """For each pair (P,) the share of the pairs of the other kind that lies nearer, ties half."""
    placed_P = np.empty(len(result.issame_P))
    for of_kind_P in (result.issame_P, ~result.issame_P):
        ordered = np.sort(result.distances_P[~of_kind_P])
        nearer, not_farther = (np.searchsorted(ordered, result.distances_P[of_kind_P], s) for s in ("left", "right"))
        placed_P[of_kind_P] = (nearer + not_farther) / (2 * len(ordered))
    return placed_P


def _figure(result: VerificationResult, metric: str) -> float:
    name, _, far = metric.partition("@")
    return result.tar_at_far[float(far)] if far else getattr(result, name)


def _verdict(metric: str, difference: float, p_adjusted: float) -> str:
    if abs(difference) < _ROUNDING:
        return "no difference"
    if p_adjusted >= LEVEL:
        return "the difference may be chance"
    better = "first" if (difference < 0) == (metric in LOWER_IS_BETTER) else "second"
    return f"the {better} is better, hardly by chance"
