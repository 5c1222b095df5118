"""What a verification found, for people and for programs: index.html (self-contained), report.md and report.json.

report.schema.json says what every field of report.json means and in which unit; the pages are made from that JSON alone
(and the targets' pictures), so they have no figure that it has not. Numbers that are not finite are null.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from recognition.atomic import write_text
from recognition.chart import line_style
from recognition.data.substitutes import BadRecord
from recognition.errors import InputError
from recognition.page import data_uri, page_environment, shown
from recognition.report.charts.scores import loss_svg
from recognition.report.figures import Cell, Row
from recognition.report.glossary import glossary_for
from recognition.report.kinds.choosing import section_of
from recognition.report.kinds.section import Picture
from recognition.report.names import model_names
from recognition.spread import spread
from recognition.strict_json import finite
from recognition.targets.target import Scored, Target

SCHEMA = "arcscale.verification.3"
BAD_RECORDS, LOSS_POINTS = 20, 1000
PICTURE_PIXELS, JPEG_QUALITY = 112, 85
_PROBE = ".writable"
HTML, MARKDOWN, JSON = "index.html", "report.md", "report.json"


def write_report(
    out_dir: str | PathLike,
    scored: Sequence[Scored],
    *,
    models: Sequence[dict[str, Any]],
    training_rows: Iterable[Mapping[str, Any]] | None = None,
    bad_records: Sequence[BadRecord] = (),
) -> Path:
    """Write the three files into `out_dir` and return the path of the HTML page.

    `models`: what is known of each, in the order of the outcomes; each is given a `name`. `training_rows` are rows of
    metrics.jsonl, of which those of kind "train" draw the loss curve; the pages name the first of the `bad_records`.
    """
    out_dir = Path(out_dir)
    facts = {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "models": [{**model, "name": name} for model, name in zip(models, model_names(models))],
        "targets": [_target_facts(entry) for entry in scored],
        "training": _training_facts(training_rows),
        "bad_records": [asdict(record) for record in bad_records],
    }
    facts = finite(facts)
    view = _view(facts, scored)
    pages = {
        HTML: _template("report.html", escape=True).render(view),
        MARKDOWN: _template("report.md", escape=False).render(view),
        JSON: json.dumps(facts, indent=1, allow_nan=False) + "\n",
    }
    for name, text in pages.items():
        write_text(out_dir / name, text)
    return out_dir / HTML


def require_writable(out_dir: str | PathLike) -> None:
    """InputError, before hours of work, unless a report can be written into `out_dir`."""
    try:
        write_text(Path(out_dir) / _PROBE, "")
        (Path(out_dir) / _PROBE).unlink()
    except OSError as error:
        raise InputError(f"no report can be written into {out_dir} ({error.strerror}); choose another --out") from error


def _target_facts(scored: Scored) -> dict[str, Any]:
    outcomes = [{**outcome.facts(), "warnings": list(outcome.warnings)} for outcome in scored.outcomes]
    return {
        "name": scored.target.name,
        "kind": scored.target.kind,
        "models": scored.models,
        "outcomes": outcomes,
        "comparisons": scored.target.compare(scored.outcomes) if outcomes else [],
        "failed": [entry.facts() for entry in scored.failed],
    }


def _training_facts(rows: Iterable[Mapping[str, Any]] | None) -> dict[str, list] | None:
    rows = [row for row in rows or () if row.get("kind") == "train"]
    if not rows:
        return None
    rows = [rows[index] for index in spread(len(rows), LOSS_POINTS)]
    return {key: [row.get(key) for row in rows] for key in ("step", "loss", "lr")}


def _view(facts: dict[str, Any], scored: Sequence[Scored]) -> dict[str, Any]:
    """What the templates show: sections, remarks, and each model's facts."""
    names = [model["name"] for model in facts["models"]]
    sections = []
    for target, entry in zip(facts["targets"], scored):
        if target["outcomes"]:
            own = [names[place] for place in target["models"]]
            part = section_of(target, own, _pictures_of(entry.target))
            headline = [_padded(row, target["models"], len(names)) for row in part.headline]
            sections.append((target["name"], replace(part, headline=headline), own))
    training = facts["training"]
    return {
        **facts,
        "names": names,
        "subject": names[0] if len(names) == 1 else f"{len(names)} models",
        "sections": sections,
        "failed": _failures(facts),
        "warnings": _remarks(facts, "warnings", lambda warning: (warning,)),
        "diagnosis": _remarks(facts, "diagnosis", _finding),
        "loss": data_uri("svg+xml", loss_svg(training)) if training else None,
        "about": [_about(model) for model in facts["models"]],
        "bad_shown": facts["bad_records"][:BAD_RECORDS],
        "glossary": glossary_for(facts["targets"]),
    }


def _remarks(
    facts: dict[str, Any], key: str, parts: Callable[[Any], tuple[str, ...]]
) -> list[tuple[str, tuple[str, ...]]]:
    """(whom it is about, what), what is said of several models of a target once."""
    about: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for target in facts["targets"]:
        for place, outcome in zip(target["models"], target["outcomes"]):
            for remark in outcome.get(key) or ():
                name = facts["models"][place]["name"]
                about.setdefault((target["name"], parts(remark)), []).append(name)
    several = len(facts["models"]) > 1
    return [(f"{name}, {', '.join(who)}" if several else name, said) for (name, said), who in about.items()]


def _padded(row: Row, models: Sequence[int], count: int) -> Row:
    """The row with a dash for each of `count` models that is not among `models`."""
    cells = [Cell()] * count
    for place, cell in zip(models, row.cells):
        cells[place] = cell
    return Row(row.label, tuple(cells))


def _failures(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """(whom it is about, why there are no figures), what several models have in common once."""
    about: dict[tuple[str, str], list[str]] = {}
    for target in facts["targets"]:
        for entry in target["failed"]:
            name = facts["models"][entry["model"]]["name"]
            about.setdefault((target["name"], entry["reason"]), []).append(name)
    several = len(facts["models"]) > 1
    return [(f"{name}, {', '.join(who)}" if several else name, why) for (name, why), who in about.items()]


def _finding(finding: dict[str, Any]) -> tuple[str, ...]:
    return finding["name"], *(_sentence(finding.get(key) or "") for key in ("sentence", "suggestion"))


def _sentence(text: str) -> str:
    """With a capital first letter and a full stop."""
    return text[:1].upper() + text[1:] + ("." if text and text[-1] not in ".!?" else "")


def _about(model: dict[str, Any]) -> dict[str, Any]:
    """Plain facts, nested facts and the provenance of a model apart."""
    known = {key: value for key, value in model.items() if key not in ("name", "provenance")}
    nested = {key: value for key, value in known.items() if isinstance(value, (dict, list))}
    return {
        "name": model["name"],
        "plain": {key: value for key, value in known.items() if key not in nested},
        "nested": {key: value for key, value in nested.items() if value},
        "provenance": model.get("provenance") or {},
    }


def _pictures_of(target: Target) -> Picture:
    """The target's pictures as data URIs, none larger than a page needs; each is asked for once."""

    @cache
    def picture(index: int) -> str | None:
        try:
            pixels = target.picture(index)
        except (InputError, OSError):  # the figures are worth more than a picture that is gone
            return None
        if pixels is None:
            return None
        image = Image.fromarray(np.ascontiguousarray(pixels))
        image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=JPEG_QUALITY)
        return data_uri("jpeg", file.getvalue())

    return picture


def _template(name: str, *, escape: bool) -> jinja2.Template:
    environment = page_environment(Path(__file__).parent, escape=escape)
    environment.filters |= {"cell": _markdown_cell, "colour": lambda index: line_style(index)["color"]}
    return environment.get_template(name)


def _markdown_cell(value: Any) -> str:
    """Text that cannot end its table cell, nor begin a tag."""
    return shown(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
