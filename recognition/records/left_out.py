"""The photos that were left out, for people and for programs: failures.html (self-contained) and failures.csv."""

from __future__ import annotations

import base64
import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from recognition.atomic import naming, replacing, write_text
from recognition.faces.photos import LOW_SCORE, NO_FACE, REASONS, SEVERAL, TOO_SMALL, UNREADABLE, Rejected

CSV, HTML = "failures.csv", "failures.html"
COLUMNS = ("photo", "reason", "detail")
MOST_SHOWN = 200  # a page of ten thousand pictures helps nobody; failures.csv has all
REMEDIES = {
    UNREADABLE: "The file is damaged, or no picture. Restore it from the original.",
    NO_FACE: "Nothing like a face was found, neither in the whole photo nor in two other sizes of it.",
    LOW_SCORE: "Something was found that is hardly a face, or a face turned or covered. --min-score lets it in.",
    TOO_SMALL: "The face has too few pixels to tell who it is. --min-size lets it in.",
    SEVERAL: "--face only takes photos of one person; --face largest or --face central chooses one.",
}


@dataclass(frozen=True)
class Shown:
    """One photo on the page."""

    photo: str
    detail: str
    picture: str


class LeftOut:
    """Counts of what was left out, by reason; `add` writes a row and keeps what the page will show."""

    def __init__(self, rows: Any) -> None:
        self._rows, self.counts = rows, Counter()
        self.shown: dict[str, list[Shown]] = defaultdict(list)

    def add(self, photo: str, rejected: Rejected) -> None:
        """Note that `photo` was left out."""
        self._rows.writerow((photo, rejected.reason, rejected.detail))
        self.counts[rejected.reason] += 1
        if len(shown := self.shown[rejected.reason]) < MOST_SHOWN:
            picture = rejected.thumbnail and "data:image/jpeg;base64," + base64.b64encode(rejected.thumbnail).decode()
            shown.append(Shown(photo, rejected.detail, picture or ""))

    def __str__(self) -> str:
        return ", ".join(f"{self.counts[reason]} {reason}" for reason in REASONS if self.counts[reason])


@contextmanager
def left_out_in(folder: Path) -> Iterator[LeftOut]:
    """Write failures.csv and failures.html into `folder` when the block ends well, also when nothing was left out."""
    listing = folder / CSV
    with replacing(listing) as partial, naming(listing):
        with open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            left_out = LeftOut(rows)
            yield left_out
    write_text(folder / HTML, _page(left_out))


def _page(left_out: LeftOut) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    reasons = [(reason, left_out.counts[reason], REMEDIES[reason], left_out.shown[reason]) for reason in REASONS]
    return environment.get_template(HTML).render(
        reasons=[row for row in reasons if row[1]], total=left_out.counts.total(), listing=CSV
    )
