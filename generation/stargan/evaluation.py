"""How well a generator edits pictures that it was not trained on: by edit, and over the epochs of its run.

What an edit shall make is judged by a network that was trained apart, before and after: a picture that already looks
like the target counts on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from generation.intervals import interval, paired_p
from generation.pictures import batch_of
from generation.stargan.attribute_judge import AttributeJudge
from generation.stargan.attributes import Edit, edits_of
from generation.stargan.checkpoint import StarGANCheckpoint, read_checkpoint
from generation.stargan.editing import edited
from generation.stargan.measures import Measure, Shown, as_told
from generation.stargan.networks import StarGANGenerator
from generation.stargan.pictures import AttributePictures
from recognition.spread import spread

MEAN = "mean"
SURE = 0.05
Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Edited:
    """An edit of some pictures: what they look like, which attributes they have and shall have, bool (N, A)."""

    edit: Edit
    shown: Shown
    labels_NA: np.ndarray
    targets_NA: np.ndarray


def edits_by(
    generator: StarGANGenerator, test: AttributePictures, real: AttributePictures, *, most: int
) -> list[Edited]:
    """Every edit that `test` allows, of `most` pictures, evenly spread; `real` has those that they are held to."""
    out = []
    for edit in edits_of(test.names, exclusive=test.exclusive):
        rows_N = np.flatnonzero(edit.applies(test.labels_NA))
        real_N = np.flatnonzero(edit.holds(real.labels_NA))
        if not len(rows_N):
            continue
        rows_N, real_N = rows_N[spread(len(rows_N), most)], real_N[spread(len(real_N), most)]
        labels_NA = test.labels_NA[rows_N]
        targets_NA = edit.target(labels_NA)
        before = _pictures(test, rows_N)
        after = edited(generator, before, targets_NA)
        shown = Shown(before, after, edited(generator, after, labels_NA), _pictures(real, real_N))
        out.append(Edited(edit, shown, labels_NA, targets_NA))
    return out


def edit_rows(
    edits: Sequence[Edited], measures: Sequence[Measure], judge: AttributeJudge | None
) -> list[dict[str, Any]]:
    """A row for each edit, and one of their means."""
    rows = [_row(each, measures, judge) for each in tqdm(edits, "judging edits", delay=2, leave=False, disable=None)]
    if len(rows) > 1:
        rows.append(_mean_row(rows, measures))
    return rows


def epoch_rows(
    paths: Sequence[Path],
    test: AttributePictures,
    real: AttributePictures,
    measures: Sequence[Measure],
    judge: AttributeJudge | None,
    *,
    most: int,
) -> list[dict[str, Any]]:
    """A row for each checkpoint: the losses of its epoch, and the edits of all kinds together.

    `real`: pictures that are not those edited, or who changes nothing would be at no distance from them.
    """
    rows = []
    all_real = _pictures(real, spread(len(real), most))
    for path in tqdm(paths, "judging epochs", delay=2, leave=False, disable=None):
        checkpoint = read_checkpoint(path)
        edits = edits_by(checkpoint.generator(), test, real, most=most)
        parts = (torch.cat([getattr(each.shown, part) for each in edits]) for part in ("before", "after", "back"))
        together = Shown(*parts, all_real)
        rows.append(
            {
                "epoch": checkpoint.epoch,
                **{key: _of_epoch(checkpoint, key) for key in ("d_loss", "g_loss")},
                "pictures": len(together.after),
                "real": len(together.real),
                "target": _targets(edits, judge),
                "values": {measure.key: measure.value(together) for measure in measures},
            }
        )
    return rows


def gain_sentence(rows: Sequence[Row]) -> str | None:
    """What the judge says in all, None where there is none."""
    judged = [row for row in rows if row["edit"] != MEAN and row["target_after"] is not None]
    if not judged:
        return None
    # Both: where all pictures change alike, an interval has no width, however few they are.
    better = sum(row["gain"]["low"] > 0 and row["p"] < SURE for row in judged)
    before, after = (np.mean([row[key] for row in judged]) for key in ("target_before", "target_after"))
    return (
        f"A network trained apart sees the target in {after:.1%} of edited pictures and in {before:.1%} of the same "
        f"pictures untouched (means over {len(judged)} edits); for {better} of them the 95 % interval of the gain lies "
        f"above 0 and p is below {SURE}."
    )


def markdown(rows: Sequence[Row], epochs: Sequence[Row], measures: Sequence[Measure]) -> str:
    """The two tables, as people read them."""
    lines = ["## By epoch", "", *_table(*epoch_table(epochs, measures)), "", "## By edit", ""]
    return "\n".join([*lines, *_table(*edit_table(rows, measures)), ""])


def epoch_table(epochs: Sequence[Row], measures: Sequence[Measure]) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and the cells of the table by epoch."""
    head = ["epoch", "D_loss", "G_loss", "pictures", "real", "target seen", *(measure.title for measure in measures)]
    body = [
        [
            str(row["epoch"]),
            *(_number(row[key], 3) for key in ("d_loss", "g_loss")),
            str(row["pictures"]),
            str(row["real"]),
            _share(row["target"]),
            *(as_told(measure, row["values"][measure.key]) for measure in measures),
        ]
        for row in epochs
    ]
    return head, body


def edit_table(rows: Sequence[Row], measures: Sequence[Measure]) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and the cells of the table by edit."""
    head = ["edit", "pictures", "real", "target seen: untouched", "edited", "gain", "p", "others kept"]
    body = [
        [
            row["edit"],
            _count(row["pictures"]),
            _count(row["real"]),
            _share(row["target_before"]),
            _share(row["target_after"]),
            _gain(row["gain"]),
            "" if row["p"] is None else f"{row['p']:.2g}",
            _share(row["others_kept"]),
            *(as_told(measure, row["values"][measure.key]) for measure in measures),
        ]
        for row in rows
    ]
    return [*head, *(measure.title for measure in measures)], body


def _row(each: Edited, measures: Sequence[Measure], judge: AttributeJudge | None) -> dict[str, Any]:
    shown = each.shown
    row: dict[str, Any] = {
        "edit": each.edit.name,
        "pictures": len(shown.after),
        "real": len(shown.real),
        **dict.fromkeys(("target_before", "target_after", "gain", "p", "others_kept")),
        "values": {measure.key: measure.value(shown) for measure in measures},
    }
    if judge is not None:
        before_NA, after_NA = (judge.labels(pictures, each.edit.names) for pictures in (shown.before, shown.after))
        held_before_N, held_after_N = each.edit.holds(before_NA), each.edit.holds(after_NA)
        others = [place for place, name in enumerate(each.edit.names) if name not in each.edit.after]
        row |= {
            "target_before": float(held_before_N.mean()),
            "target_after": float(held_after_N.mean()),
            "gain": asdict(interval(held_after_N.astype(np.float64) - held_before_N)),
            "p": paired_p(held_before_N, held_after_N),
            "others_kept": float((before_NA == after_NA)[:, others].mean()) if others else None,
        }
    return row


def _mean_row(rows: Sequence[Row], measures: Sequence[Measure]) -> dict[str, Any]:
    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    shares = ("target_before", "target_after", "others_kept")
    gain = mean([row["gain"] and row["gain"]["mean"] for row in rows])
    return {
        "edit": MEAN,
        **dict.fromkeys(("pictures", "real", "p")),
        "gain": {"mean": gain, "low": None, "high": None} if gain is not None else None,
        **{key: mean([row[key] for row in rows]) for key in shares},
        "values": {measure.key: mean([row["values"][measure.key] for row in rows]) for measure in measures},
    }


def _targets(edits: Sequence[Edited], judge: AttributeJudge | None) -> float | None:
    if judge is None:
        return None
    return float(np.mean([each.edit.holds(judge.labels(each.shown.after, each.edit.names)).mean() for each in edits]))


def _of_epoch(checkpoint: StarGANCheckpoint, key: str) -> float | None:
    row = next((row for row in checkpoint.history if row["epoch"] == checkpoint.epoch), {})
    return row.get(key)


def _pictures(pictures: AttributePictures, rows_N: np.ndarray) -> Tensor:
    size = pictures.image_size
    if not len(rows_N):
        return torch.empty(0, 3, size, size)
    return batch_of([pictures.read(int(row)) for row in rows_N])


def _count(value: int | None) -> str:
    return "" if value is None else str(value)


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def _gain(of: Mapping[str, float | None] | None) -> str:
    if of is None:
        return "n/a"
    mean = f"{100 * of['mean']:+.1f}"
    if of["low"] is None or of["low"] != of["low"]:
        return mean
    return f"{mean} ({100 * of['low']:+.1f} to {100 * of['high']:+.1f})"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows = [head, ["---"] * len(head), *body]
    return [f"| {' | '.join(row)} |" for row in rows]
