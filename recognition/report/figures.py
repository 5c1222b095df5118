"""The figures of a report as people read them: percent, rates, intervals, and a dash with its reason for no figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DASH = "–"
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One figure: its text, its 95 % interval and what a reader must know of it, each "" where there is none."""

    text: str = DASH
    interval: str = ""
    note: str = ""

    @property
    def figure(self) -> str:
        """Text and interval in one line."""
        return self.text + (f" ({self.interval})" if self.interval else "")

    @property
    def line(self) -> str:
        """The whole cell in one line."""
        return self.figure + (f" [{self.note}]" if self.note else "")


@dataclass(frozen=True)
class Row:
    """A figure of all models, in their order."""

    label: str
    cells: tuple[Cell, ...]

    @property
    def note(self) -> str:
        """What is to be known of all cells alike, so that it is said once; else ""."""
        notes = {cell.note for cell in self.cells}
        return notes.pop() if len(notes) == 1 else ""


@dataclass(frozen=True)
class Rates:
    """How a kind of operating points is called in the facts and by people."""

    key: str
    rate: str
    share: str
    label: str
    what: str
    count: str


ERROR_RATES = Rates("operating_points", "far", "tar", "TAR at FAR", "impostor pairs", "impostor")
SEARCH_RATES = Rates("open_set", "fpir", "dir", "DIR at FPIR", "probes of strangers", "nonmated_probes")


def percent(value: float | None) -> str:
    """A share with two decimals, and with two digits that count where it is very small."""
    if value is None:
        return DASH
    small = 0 < abs(value) < 1e-3
    return f"{value * 100:.2g} %" if small else f"{value * 100:.2f} %"


def fixed(value: float | None, decimals: int) -> str:
    """A number with so many decimals."""
    return DASH if value is None else f"{value:.{decimals}f}"


def rate_text(rate: float, *, short: bool = False) -> str:
    """A false accept rate for people: 0.1 %, and below 0.01 % 1e-6 (1 in 1,000,000); `short` leaves out the latter."""
    if rate >= 1e-4 * (1 - 1e-9):
        return f"{rate * 100:g} %"
    exponent = f"{rate:.2g}".replace("e-0", "e-")
    return exponent if short else f"{exponent} (1 in {round(1 / rate):,})"


def figure(
    value: float | None, interval: Sequence[float | None] | None = None, show: Callable[[float], str] = percent
) -> Cell:
    """A cell of a number and its interval."""
    if value is None:
        return Cell()
    if not interval or any(end is None for end in interval):
        return Cell(show(value))
    low, high = (show(end) for end in interval)
    unit = " %" if low.endswith(" %") and high.endswith(" %") else ""
    return Cell(show(value), f"{low.removesuffix(unit)} to {high}")


def figure_rows(
    outcomes: Sequence[Facts],
    wanted: Sequence[tuple[str, str, Callable[[float], str]]],
    intervals: str = "intervals",
) -> list[Row]:
    """A row for each (key, label, how to show it) that any outcome has, with what `intervals` says of the key."""
    rows = []
    for key, label, show in wanted:
        if any(key in outcome for outcome in outcomes):
            cells = (figure(o.get(key), (o.get(intervals) or {}).get(key), show) for o in outcomes)
            rows.append(Row(label, tuple(cells)))
    return rows


def operating_points(outcome: Facts, rates: Rates) -> list[dict[str, Any]]:
    """{rate, share, low, high, threshold, allowed, note} of an outcome, from the most generous to the strictest rate.

    `note` says why there is no share, or that few decide it; an outcome that has TAR at FAR alone gives points, too.
    """
    given = outcome.get(rates.key)
    if given is None and rates is ERROR_RATES:
        given = [{"far": float(far), "tar": tar} for far, tar in (outcome.get("tar_at_far") or {}).items()]
    points = []
    for point in given or ():
        entry = {"rate": point[rates.rate], "share": point.get(rates.share)}
        entry |= {key: point.get(key) for key in ("low", "high", "threshold")}
        if _too_few(point):
            entry |= dict.fromkeys(("share", "low", "high", "threshold"))
        entry["allowed"] = point.get("allowed_false_accepts", _allowed(point[rates.rate], outcome.get(rates.count)))
        points.append(entry | {"note": _note(point, outcome, rates)})
    return sorted(points, key=lambda point: -point["rate"])


def point_cell(point: dict[str, Any] | None) -> Cell:
    """A share with its interval and note; a point that an outcome lacks is a dash."""
    if point is None:
        return Cell()
    cell = figure(point["share"], (point["low"], point["high"]))
    return Cell(cell.text, cell.interval, point["note"])


def point_rows(outcomes: Sequence[Facts], rates: Rates, *, only: Sequence[float] | None = None) -> list[Row]:
    """A row for each rate; those that nobody can tell are one row, unless `only` some rates are asked for."""
    columns = [{point["rate"]: point for point in operating_points(outcome, rates)} for outcome in outcomes]
    known = sorted({rate for column in columns for rate in column}, reverse=True)
    rows = []
    for place, rate in enumerate(known):
        if only is not None and not any(math.isclose(rate, wanted) for wanted in only):
            continue
        cells = tuple(point_cell(column.get(rate)) for column in columns)
        untold = only is None and all(_untold(column, known[place:]) for column in columns)
        and_below = " and below" if untold and place + 1 < len(known) else ""
        rows.append(Row(f"{rates.label} {rate_text(rate)}{and_below}", cells))
        if untold:
            break
    return rows


def lowest_founded(outcomes: Sequence[Facts], rates: Rates) -> float | None:
    """The lowest rate at which every outcome has a share that not just a few decide."""
    founded = [
        {p["rate"] for p in operating_points(outcome, rates) if p["share"] is not None and not p["note"]}
        for outcome in outcomes
    ]
    common = set.intersection(*founded) if founded else set()
    return min(common, default=None)


def _untold(column: dict[float, dict[str, Any]], rates: Sequence[float]) -> bool:
    return all(column[rate]["share"] is None for rate in rates if rate in column)


def _note(point: Facts, outcome: Facts, rates: Rates) -> str:
    flag, count, rate = point.get("flag") or "", outcome.get(rates.count), point[rates.rate]
    if _too_few(point) or point.get(rates.share) is None:
        return f"needs {math.ceil(1 / rate - 1e-6):,} {rates.what}" + ("" if count is None else f", has {count:,}")
    if not flag.startswith("few"):
        return ""
    allowed = point.get("allowed_false_accepts", _allowed(rate, count))
    if allowed is None or count is None:
        return f"few {rates.what} decide"
    return f"decided by {allowed:,} of {count:,} {rates.what}"


def _too_few(point: Facts) -> bool:
    return (point.get("flag") or "").startswith("too_few")


def _allowed(rate: float, count: int | None) -> int | None:
    return None if count is None else math.floor(rate * count + 1e-9)
