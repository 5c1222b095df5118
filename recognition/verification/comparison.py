"""Several models on the same pairs: is the difference real, or would other pairs have turned it round?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from recognition.verification.bootstrap import OUTER, Replicates, require_same_pairs
from recognition.verification.intervals import holm, mcnemar_p
from recognition.verification.protocol import VerificationResult, fold_numbers

LEVEL = 0.05
MCNEMAR, BOOTSTRAP = "McNemar exact", "paired bootstrap"


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
    """Every two of the models by every metric that `replicates` (of resample_pairs, all together) have.

    Accuracy is judged by McNemar's exact test on the pairs that just one model judges rightly, everything else by the
    share of drawn sets in which the difference has the other sign. InputError when the pairs differ.
    """
    require_same_pairs(results)
    found = [
        _compared(results, replicates, first, second, metric)
        for first, second in combinations(range(len(results)), 2)
        for metric in replicates[first].values
    ]
    return judged(found)


def judged(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same with `p_adjusted` over the pairs of models of each metric, and the verdict that follows from it."""
    by_metric = defaultdict(list)
    for place, entry in enumerate(comparisons):
        by_metric[entry.metric].append(place)
    done = list(comparisons)
    for places in by_metric.values():
        for place, adjusted in zip(places, holm([comparisons[place].p_value for place in places])):
            done[place] = replace(done[place], p_adjusted=adjusted, verdict=_verdict(done[place].difference, adjusted))
    return done


def rightly_judged(result: VerificationResult) -> np.ndarray:
    """Which pairs are judged rightly at the threshold of their fold, bool (P,)."""
    fold_P = fold_numbers(len(result.issame_P), len(result.fold_thresholds))
    return (result.distances_P < np.array(result.fold_thresholds)[fold_P]) == result.issame_P


def _compared(
    results: Sequence[VerificationResult], replicates: Sequence[Replicates], first: int, second: int, metric: str
) -> Comparison:
    between_R = replicates[first].values[metric] - replicates[second].values[metric]
    difference = _figure(results[first], metric) - _figure(results[second], metric)
    low, high = np.percentile(between_R, OUTER).tolist()
    if metric == "accuracy":
        right, other = rightly_judged(results[first]), rightly_judged(results[second])
        p_value, method = mcnemar_p(int((right & ~other).sum()), int((other & ~right).sum())), MCNEMAR
    else:
        # The real set is one of those that might have been drawn: hence the 1, and never a p-value of 0.
        fewer = min((between_R <= 0).sum(), (between_R >= 0).sum())
        p_value, method = min(2 * (float(fewer) + 1) / (len(between_R) + 1), 1.0), BOOTSTRAP
    return Comparison(first, second, metric, difference, low, high, p_value, p_value, method, "")


def _figure(result: VerificationResult, metric: str) -> float:
    name, _, far = metric.partition("@")
    return result.tar_at_far[float(far)] if far else getattr(result, name)


def _verdict(difference: float, p_adjusted: float) -> str:
    if difference == 0:
        return "no difference"
    if p_adjusted >= LEVEL:
        return "the difference may be chance"
    return f"the {'first' if difference > 0 else 'second'} has the higher figure, hardly by chance"
