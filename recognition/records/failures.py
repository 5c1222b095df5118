"""The pictures that were left out, for people and for programs: failures.html (self-contained) and failures.csv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from recognition.atomic import replacing, write_text
from recognition.faces.photos import LOW_SCORE, NO_FACE, SEVERAL, TOO_SMALL, UNREADABLE
from recognition.page import data_uri, page_environment
from recognition.records.encode import Failure
from recognition.records.tables import new_table

LISTS = CSV, HTML = "failures.csv", "failures.html"
MOST_SHOWN = 200  # of each reason: a page of ten thousand pictures helps nobody, and failures.csv has all
REMEDIES = {
    UNREADABLE: "The file is damaged, missing, or no picture. Restore it from the original.",
    NO_FACE: "Nothing like a face was found, neither in the whole photo nor in other sizes of it.",
    LOW_SCORE: "Something was found that is hardly a face, or is turned or covered. A lower --min-score lets it in.",
    TOO_SMALL: "The face has too few pixels to tell who it is. A lower --min-size lets it in.",
    SEVERAL: "--face only takes photos of one person; --face largest or --face central chooses one.",
}


def kind_of(failure: Failure) -> str:
    """The reason without its details: what comes before the first colon, `unreadable` for what is damaged."""
    return UNREADABLE if failure.damaged else failure.reason.partition(": ")[0]


def counts_of(failures: Sequence[Failure]) -> str:
    """`3 no face, 1 too small`: the reasons, the most frequent first."""
    return ", ".join(f"{count} {kind}" for kind, count in Counter(map(kind_of, failures)).most_common())


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Write failures.csv and failures.html into `folder`; nothing when there are no failures."""
    if not failures:
        return
    with replacing(folder / CSV) as aside, new_table(aside, ("path", "label", "reason")) as add_row:
        for failure in failures:
            add_row((failure.path, failure.label, failure.reason))
    write_text(folder / HTML, _page(failures))


def _page(failures: Sequence[Failure]) -> str:
    kinds = []
    for kind, count in Counter(map(kind_of, failures)).most_common():
        shown = [failure for failure in failures if kind_of(failure) == kind][:MOST_SHOWN]
        photos = [(failure.path, failure.reason.removeprefix(f"{kind}: "), _picture(failure)) for failure in shown]
        kinds.append((kind, count, REMEDIES.get(kind, ""), photos))
    template = page_environment(Path(__file__).parent, escape=True).get_template(HTML)
    return template.render(kinds=kinds, total=len(failures), listing=CSV)


def _picture(failure: Failure) -> str:
    return data_uri("jpeg", failure.thumbnail) if failure.thumbnail else ""
