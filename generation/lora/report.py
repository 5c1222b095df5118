"""The page of a LoRA run: losses, likeness by both recognisers, the last grid of pictures; and report.json."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from PIL import Image

from generation.lora.config import LoraConfig
from generation.lora.watch import FOLDER as GRIDS
from recognition.atomic import write_text
from recognition.chart import line_style, svg
from recognition.page import captioned, data_uri, page_environment
from recognition.provenance import newest_provenance
from recognition.spread import spread
from recognition.strict_json import finite
from recognition.training.metrics import read_rows

HTML, JSON = "index.html", "report.json"
SCHEMA = "arcscale.lora.1"
MAX_POINTS, GRID_PIXELS, JPEG_QUALITY = 1000, 1200, 88
LEGEND = {"train_cos": "recogniser that trains", "held_out_cos": "held-out recogniser"}
# Of the table of first and last values; those of a look are of the same pictures from the same noise.
ENDS = (
    ("train", "flow_loss", "flow loss"),
    ("train", "face_loss", "identity loss"),
    ("monitor", "train_cos", "cosine of generated pictures, by the recogniser that trains"),
    ("monitor", "held_out_cos", "cosine of generated pictures, by the held-out recogniser"),
)


def write_report(run_dir: Path, cfg: LoraConfig, facts: Mapping[str, Any]) -> Path:
    """Write the page and its JSON into the run's `report` folder; the path of the page."""
    train, monitor = read_rows(run_dir, "train"), read_rows(run_dir, "monitor")
    found = finite(
        {
            "schema": SCHEMA,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "facts": dict(facts),
            "train": _columns(train, ("step", "loss", "flow_loss", "face_loss", "face_cos", "lr", "images_per_s")),
            "monitor": _columns(monitor, ("step", "faces", "train_cos", "held_out_cos", "gap_growth")),
            "alarms": [row["step"] for row in monitor if row.get("alarm")],
            "monitor_gap": cfg.monitor_gap,
            "provenance": newest_provenance(run_dir) or {},
        }
    )
    page = (
        page_environment(Path(__file__).parent, escape=True)
        .get_template("report.html")
        .render(
            {
                **found,
                "name": run_dir.name,
                "ends": _ends(found),
                "charts": _charts(found),
                "grid": _newest_grid(run_dir / GRIDS),
            }
        )
    )
    out_dir = run_dir / "report"
    write_text(out_dir / JSON, json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(out_dir / HTML, page)
    return out_dir / HTML


def _columns(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, list]:
    rows = [rows[index] for index in spread(len(rows), MAX_POINTS)] if rows else []
    return {key: [row.get(key) for row in rows] for key in keys}


def _ends(found: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(what, first value, last value) of all that has any."""
    ends = []
    for kind, key, what in ENDS:
        known = [value for value in found[kind][key] if value is not None]
        if known:
            ends.append((what, known[0], known[-1]))
    return ends


def _charts(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """All that there is something to draw of."""
    wanted = (
        ("train", ("flow_loss",), "loss", "Mean squared error of the predicted velocity."),
        ("train", ("face_loss",), "loss", "Identity loss: 1 - cosine, weighted by time, over samples that ask for it."),
        ("train", ("face_cos",), "cosine", "Cosine between predictions and references, by the recogniser that trains."),
        (
            "monitor",
            ("train_cos", "held_out_cos"),
            "cosine",
            "Cosine between generated pictures and references. Where the first rises alone, it is being fooled.",
        ),
    )
    charts = []
    for kind, keys, unit, caption in wanted:
        known = [key for key in keys if any(value is not None for value in found[kind][key])]
        if known:
            charts.append(captioned(_lines(found[kind], known, unit), caption))
    return charts


def _lines(columns: Mapping[str, list], keys: Sequence[str], unit: str) -> str:
    def draw(axes: Axes) -> None:
        for place, key in enumerate(keys):
            values = [math.nan if value is None else value for value in columns[key]]
            marker = "." if len(values) < 30 else None
            axes.plot(columns["step"], values, lw=1.6, marker=marker, label=LEGEND.get(key), **line_style(place))
        axes.set_xlabel("step")
        axes.set_ylabel(unit)
        if len(keys) > 1:
            axes.legend()

    return svg(draw)


def _newest_grid(folder: Path) -> str | None:
    grids = sorted(folder.glob("step-*.png"))
    if not grids:
        return None
    with Image.open(grids[-1], formats=["PNG"]) as opened:
        image = opened.convert("RGB")
    image.thumbnail((GRID_PIXELS, GRID_PIXELS))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return data_uri("jpeg", file.getvalue())
