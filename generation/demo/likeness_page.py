"""The page on what the identity loss is worth: pictures, likeness with intervals, who is taken for whom, time."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from recognition.atomic import write_text
from recognition.chart import FAINT, INK, line_style, svg
from recognition.grid import grid
from recognition.page import captioned, data_uri, page_environment
from recognition.strict_json import finite

HTML, JSON = "index.html", "report.json"
LARGER = 3


def write_page(out: Path, found: Mapping[str, Any], rows: Sequence[Sequence[np.ndarray]]) -> Path:
    """Write what `likeness.summary` found, as a page with the pictures `rows` and as JSON; the path of the page."""
    found = finite(dict(found))
    page = (
        page_environment(Path(__file__).parent, escape=True)
        .get_template("likeness.html")
        .render({**found, "grid": _grid(rows), "charts": _charts(found)})
    )
    write_text(out / JSON, json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(out / HTML, page)
    return out / HTML


def _grid(rows: Sequence[Sequence[np.ndarray]]) -> str:
    image = Image.fromarray(grid([[_larger(pixels_HWC) for pixels_HWC in row] for row in rows]))
    file = io.BytesIO()
    image.save(file, "PNG")
    return data_uri("png", file.getvalue())


def _larger(pixels_HWC: np.ndarray) -> np.ndarray:
    height, width = (LARGER * side for side in pixels_HWC.shape[:2])
    return np.asarray(Image.fromarray(pixels_HWC).resize((width, height), Image.Resampling.BICUBIC))


def _charts(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Likeness while the runs went on, and of each person afterwards."""

    def over_steps(axes: Axes) -> None:
        for place, (name, columns) in enumerate(found["monitor"].items()):
            axes.plot(columns["step"], columns["held_out_cos"], marker=".", label=name, **line_style(place))
        axes.set_xlabel("step")
        axes.set_ylabel("cosine")
        axes.legend()

    def by_person(axes: Axes) -> None:
        (name_x, without), (name_y, with_) = found["per_person"].items()
        ends = [min(without + with_) - 0.02, max(without + with_) + 0.02]
        axes.plot(ends, ends, color=FAINT, lw=1)
        axes.plot(without, with_, "o", color=INK, ms=5)
        axes.set_xlabel(f"cosine, {name_x}")
        axes.set_ylabel(f"cosine, {name_y}")

    return [
        captioned(
            svg(over_steps),
            "While the runs went on: likeness of generated pictures to their references, by the held-out recogniser.",
        ),
        captioned(
            svg(by_person),
            "Afterwards, a dot for each person: above the line, the loss made it more alike. Held-out recogniser.",
        ),
    ]
