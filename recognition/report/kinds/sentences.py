"""What the figures of a target allow to say and what they do not, in sentences for people who decide by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recognition.report.figures import Rates, lowest_founded, operating_points, percent, rate_text

FEW = 10  # that decide a threshold: fewer are too few to lean on
SIGNIFICANT = 0.05


def counts(outcome: dict[str, Any], wanted: Sequence[tuple[str, str]]) -> list[str]:
    """What a target consists of, of (key, what it counts)."""
    found = [f"{outcome[key]:,} {what}" for key, what in wanted if outcome.get(key)]
    return [f"{', '.join(found)}."] if found else []


def reach(count: int | None, what: str, rate: str) -> list[str]:
    """Down to which error rate so many pairs or probes can tell anything: one of them is 1 / count."""
    if count is None:
        return []
    if count == 0:
        return [f"There are no {what}, so nothing can be said about {rate}s."]
    one = f"{count:,} {what} cannot tell anything about {rate}s below {_below(1, count)}"
    return [f"{one}, and little about those below {_below(FEW, count)}, where fewer than ten of them decide."]


def founded(
    names: Sequence[str], outcomes: Sequence[dict[str, Any]], rates: Rates, *, cost: str, verb: str, what: str
) -> list[str]:
    """What the models reach at the lowest rate that is well founded: "<cost> <name> <verb>s 97 % of <what>"."""
    if not any(operating_points(outcome, rates) for outcome in outcomes):
        return []
    rate = lowest_founded(outcomes, rates)
    if rate is None:
        return [f"None of the {rates.label} figures rests on enough {rates.what} to lean on."]
    shares = [next(p["share"] for p in operating_points(o, rates) if p["rate"] == rate) for o in outcomes]
    least, most = min(range(len(shares)), key=shares.__getitem__), max(range(len(shares)), key=shares.__getitem__)
    reached = f"{names[0]} {verb}s {percent(shares[least])}"
    if len(shares) > 1:
        between = f"{percent(shares[least])} ({names[least]}) and {percent(shares[most])} ({names[most]})"
        reached = f"the models {verb} between {between}"
    return [f"{cost.format(rate=rate_text(rate, short=True), odds=round(1 / rate))} {reached} of {what}."]


def chance(comparisons: Sequence[dict[str, Any]]) -> list[str]:
    """How many of the differences between models are more than chance."""
    tested = [p for p in map(_p_value, comparisons) if p is not None]
    if not tested:
        return []
    corrected = all(comparison.get("p_adjusted") is not None for comparison in comparisons)
    level = f"{SIGNIFICANT}" if corrected else f"{SIGNIFICANT}, not corrected for the number of differences"
    real = sum(p < SIGNIFICANT for p in tested)
    which = "The one tested difference" if len(tested) == 1 else f"Each of the {len(tested)} tested differences"
    if real == len(tested):
        return [f"{which} between models is more than chance (p < {level})."]
    if real:
        are = "is" if real == 1 else "are"
        return [f"{real} of {len(tested)} tested differences between models {are} more than chance (p < {level})."]
    return [f"{which} between models may be chance (p >= {level}): this set does not say which is better."]


def _p_value(comparison: dict[str, Any]) -> float | None:
    adjusted = comparison.get("p_adjusted")
    return comparison.get("p_value") if adjusted is None else adjusted


def _below(part: int, count: int) -> str:
    """The share part / count, rounded down so that what is said of lower ones is true; at most all."""
    share = min(part / count, 1)
    if share < 1e-4:
        return f"1 in {math.ceil(count / part):,}"
    digits = 1 - math.floor(math.log10(share * 100))
    return f"{math.floor(share * 100 * 10**digits + 1e-9) / 10**digits:g} %"
