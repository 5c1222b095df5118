"""The page on edits: pictures, the two tables, the losses; and the same as JSON and Markdown."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from PIL import Image

from generation.stargan.boards import save_sheet, sheet_of
from generation.stargan.evaluation import edit_table, epoch_table, markdown
from generation.stargan.measures import Measure, missing_lines
from generation.stargan.step import D_LOSSES, G_LOSSES
from recognition.atomic import write_text
from recognition.chart import line_style, svg
from recognition.page import captioned, data_uri, page_environment
from recognition.strict_json import finite

SCHEMA = "arcscale.stargan.report.1"
HTML, JSON, MARKDOWN, PICTURES = "index.html", "report.json", "report.md", "edits.png"


def write_report(
    out: Path,
    found: Mapping[str, Any],
    measures: Sequence[Measure],
    columns: Sequence[str],
    rows: Sequence[Sequence[np.ndarray]],
) -> Path:
    """Write what was found as a page, as JSON and as Markdown, with pictures in `rows`; the path of the page.

    `found` has "edits" and "epochs" as evaluation.py gives them, "gain" (a sentence or None), "warnings", "notes",
    "facts", "history", "created" and "are_unseen".
    """
    found = finite({"schema": SCHEMA, "measures": {each.key: each.facts() for each in measures}, **found})
    missing = missing_lines(measures)
    edit_head, edit_rows = edit_table(found["edits"], measures)
    epoch_head, epoch_rows = epoch_table(found["epochs"], measures)
    page = (
        page_environment(Path(__file__).parent, escape=True)
        .get_template("report.html")
        .render(
            {
                **found,
                **{"edit_head": edit_head, "edit_rows": edit_rows, "epoch_head": epoch_head, "epoch_rows": epoch_rows},
                "missing": missing,
                "columns": list(columns),
                "pictures": [[_uri(pixels_HWC) for pixels_HWC in row] for row in rows],
                "charts": _charts(found["history"]),
            }
        )
    )
    said = [f"Note: {line}" for line in (*found["warnings"], *found["notes"])] + [found["gain"] or ""]
    facts = [f"- {key.replace('_', ' ')}: {_told(value)}" for key, value in found["facts"].items()]
    text = ["# Faces with other attributes", "", *said, "", markdown(found["edits"], found["epochs"], measures)]
    out.mkdir(parents=True, exist_ok=True)
    save_sheet(out / PICTURES, sheet_of(rows))
    write_text(out / JSON, json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(out / MARKDOWN, "\n".join([*text, *[f"{line}." for line in missing], "", *facts, ""]))
    write_text(out / HTML, page)
    return out / HTML


def _uri(pixels_HWC: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "PNG", optimize=True)
    return data_uri("png", file.getvalue())


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _charts(history: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    if len(history) < 2:
        return []

    def losses(names: Sequence[str]) -> str:
        def draw(axes: Axes) -> None:
            drawn = [name for name in names if any(row.get(name) for row in history)]
            for place, name in enumerate(drawn):
                rows = [row for row in history if row.get(name) is not None]
                marker = "." if len(rows) < 30 else None
                label = name[2:].replace("_", " ")
                axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], label=label, marker=marker,
                          **line_style(place))  # fmt: skip
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)

        return svg(draw)

    return [
        captioned(losses(D_LOSSES), "The discriminator's loss and its parts, before their weights."),
        captioned(losses(G_LOSSES), "The generator's loss and its parts, before their weights."),
    ]
