"""The page on models that turn faces: tables by yaw, charts, pictures beside what they should be; and report.json."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from generation.posecontrol.evaluation import PSNR, TITLES, cell, shown_makers
from recognition.atomic import write_text
from recognition.chart import line_style, svg
from recognition.grid import grid
from recognition.page import captioned, data_uri, page_environment
from recognition.strict_json import finite

SCHEMA = "arcscale.posecontrol.1"
HTML, JSON, MARKDOWN, PICTURES = "index.html", "report.json", "report.md", "pictures.png"
CURVES = (
    (TITLES[PSNR], "psnr_db", {"val": ""}, "PSNR on validation people"),
    ("loss", "loss", {"train": ", training", "val": ", validation"}, "the loss"),
)
SHOWN_SIDE = 96  # pixels to which small pictures are enlarged


def write_report(
    out: Path, found: Mapping[str, Any], text: str, rows: Sequence[Sequence[np.ndarray]], columns: Sequence[str]
) -> Path:
    """Write what was found as a page, as JSON and as Markdown, with pictures in `rows`; the path of the page.

    `found` has what `evaluation.summary` gives under "table", "gains" (sentences), "facts" and "histories".
    """
    found = finite({"schema": SCHEMA, **found})
    image = Image.fromarray(grid([[enlarged(pixels_HWC) for pixels_HWC in row] for row in rows]))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    table = found["table"]
    page = (
        page_environment(Path(__file__).parent, escape=True)
        .get_template("report.html")
        .render(
            {
                **found,
                "columns": list(columns),
                "paired": len(rows[0]) > len(columns),
                "grid": data_uri("png", file.getvalue()),
                "charts": _charts(found),
                "tables": _tables(table),
            }
        )
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / PICTURES).write_bytes(file.getvalue())
    write_text(out / JSON, json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(out / MARKDOWN, text)
    write_text(out / HTML, page)
    return out / HTML


def enlarged(pixels_HWC: np.ndarray) -> np.ndarray:
    """A small picture, a whole number of times as large; a large one as it is."""
    times = max(1, SHOWN_SIDE // pixels_HWC.shape[0])
    height, width = (times * side for side in pixels_HWC.shape[:2])
    return np.asarray(Image.fromarray(pixels_HWC).resize((width, height), Image.Resampling.BICUBIC))


def _tables(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    makers = list(table["bins"][0]["makers"])
    return [
        {
            "title": title,
            "makers": shown_makers(metric, makers),
            "rows": [
                {
                    "yaw_deg": each["yaw_deg"],
                    "pairs": each["pairs"],
                    "cells": [cell(metric, each["makers"][name][metric]) for name in shown_makers(metric, makers)],
                }
                for each in table["bins"]
            ],
        }
        for metric, title in table["metrics"].items()
    ]


def _charts(found: Mapping[str, Any]) -> list[dict[str, str]]:
    bins = [each for each in found["table"]["bins"] if each["yaw_deg"] != "all"]
    makers = list(bins[0]["makers"])

    def by_yaw(metric: str) -> dict[str, str]:
        def draw(axes: Axes) -> None:
            for maker in shown_makers(metric, makers):
                means = [each["makers"][maker][metric]["mean"] for each in bins]
                axes.plot(range(len(bins)), means, marker=".", label=maker, **line_style(makers.index(maker)))
            axes.set_xticks(range(len(bins)), [each["yaw_deg"] for each in bins])
            axes.set_xlabel("yaw of the target in degrees")
            axes.set_ylabel(TITLES[metric])
            axes.legend()

        return captioned(svg(draw), f"{TITLES[metric]}, by how far the target is turned.")

    charts = [by_yaw(metric) for metric in found["table"]["metrics"]]
    histories = {name: each for name, each in found["histories"].items() if each.get("train") and each.get("val")}
    if histories:
        charts += [_curves(histories, makers, *which) for which in CURVES]
    return charts


def _curves(
    histories: Mapping[str, Any], makers: Sequence[str], title: str, key: str, parts: Mapping[str, str], caption: str
) -> dict[str, str]:
    """`parts`: which of a model's rows are drawn, and what is added to its name for them, the faintest first."""

    def draw(axes: Axes) -> None:
        for name, history in histories.items():
            for place, (part, more) in enumerate(parts.items(), 1):
                rows = history[part]
                epochs, values = ([row[column] for row in rows] for column in ("epoch", key))
                strength = {"alpha": place / len(parts), "marker": "." if len(rows) < 30 else None}
                axes.plot(epochs, values, label=name + more, **strength, **line_style(makers.index(name)))
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.legend()

    return captioned(svg(draw), f"While the models were trained: {caption}.")
