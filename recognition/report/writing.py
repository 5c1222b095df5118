"""What a verification found, for people and for programs: index.html (self-contained), report.md and report.json.

report.json, schema "arcscale.verification.2"; numbers that are not finite are null:
    created        ISO time, UTC
    models[]       what is known of each: network, params, sha256, file, normalisation, config, ... (any JSON);
                   of a run provenance, too: commit, config_sha256, data_sha256, torch, ... (recognition/provenance.py)
    targets[]      name, kind, comparisons[], outcomes[]: one for each model, in the models' order, with warnings[] and
      of pairs     pairs, genuine, impostor, accuracy, accuracy_std, fold_accuracies[], fold_thresholds[],
                   threshold, auc, eer, tar_at_far {"0.001": share or null}, xnorm,
                   num_false_accepts, num_false_rejects (at `threshold`),
                   false_accepts[], false_rejects[] (worst first: pair, distance, cosine),
                   roc {far[], tar[], distance[]} (at most 1000 points),
                   histogram {cosine_edges[], genuine[], impostor[]}
    training       null or {step[], loss[], lr[]}
    bad_records[]  index, place, reason of what training could not read, others having been shown in its place
Distances and thresholds are squared L2 between unit vectors (0 to 4); a pair is accepted when strictly below.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from os import PathLike
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import simplejpeg

from recognition.atomic import write_text
from recognition.data.substitutes import BadRecord
from recognition.page import data_uri, page_environment, shown
from recognition.report.charts import histogram_svg, loss_svg, roc_svg
from recognition.report.glossary import GLOSSARY
from recognition.spread import spread
from recognition.strict_json import finite
from recognition.targets.pairs import MAX_POINTS
from recognition.targets.target import Scored, Target

SCHEMA = "arcscale.verification.2"
BAD_RECORDS = 20
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

    `models`: what is known of each, in the order of the outcomes; `training_rows` are rows of metrics.jsonl, of which
    those of kind "train" draw the loss curve; the pages name the first of the `bad_records`.
    """
    out_dir = Path(out_dir)
    facts = {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "models": list(models),
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


def _target_facts(scored: Scored) -> dict[str, Any]:
    outcomes = [{**outcome.facts(), "warnings": outcome.warnings} for outcome in scored.outcomes]
    comparisons = scored.target.compare(scored.outcomes)
    return {"name": scored.target.name, "kind": scored.target.kind, "outcomes": outcomes, "comparisons": comparisons}


def _training_facts(rows: Iterable[Mapping[str, Any]] | None) -> dict[str, list] | None:
    rows = [row for row in rows or () if row.get("kind") == "train"]
    if not rows:
        return None
    rows = [rows[index] for index in spread(len(rows), MAX_POINTS)]
    return {key: [row.get(key) for row in rows] for key in ("step", "loss", "lr")}


def _view(facts: dict[str, Any], scored: Sequence[Scored]) -> dict[str, Any]:
    """What the templates show beside the facts: charts, pictures, the false accept rates that any target can tell."""
    flat = [{"name": target["name"], **target["outcomes"][0]} for target in facts["targets"]]
    fars = dict.fromkeys(far for t in flat for far, tar in t["tar_at_far"].items() if tar is not None)
    shown = []
    for target, entry in zip(flat, scored):
        result = entry.outcomes[0].result
        mistakes = {
            kind: [{**pair, "pictures": _pictures(entry.target, pair["pair"])} for pair in target[kind]]
            for kind in ("false_accepts", "false_rejects")
        }
        charts = {
            "roc": data_uri("svg+xml", roc_svg(result)),
            "histogram": data_uri("svg+xml", histogram_svg(result)),
        }
        shown.append({**target, **mistakes, **charts})
    training, model = facts["training"], dict(facts["models"][0])
    provenance = model.pop("provenance", None) or {}
    loss = None
    if training:
        columns = ([math.nan if value is None else value for value in training[k]] for k in ("step", "loss", "lr"))
        loss = data_uri("svg+xml", loss_svg(*columns))
    return {
        **facts,
        "targets": shown,
        "subject": facts["models"][0].get("network") or Path(facts["models"][0].get("file") or "the model").name,
        "fars": list(fars),
        "loss": loss,
        "plain": {key: value for key, value in model.items() if not isinstance(value, (dict, list))},
        "nested": {key: value for key, value in model.items() if isinstance(value, (dict, list)) and value},
        "provenance": provenance,
        "bad_shown": facts["bad_records"][:BAD_RECORDS],
        "glossary": GLOSSARY,
    }


def _pictures(target: Target, pair: int) -> list[str]:
    """The two pictures of a pair as data URIs; none when they cannot be shown."""
    rows = [target.picture(2 * pair + side) for side in (0, 1)]
    return [data_uri("jpeg", simplejpeg.encode_jpeg(np.ascontiguousarray(row), 92)) for row in rows if row is not None]


def _template(name: str, *, escape: bool) -> jinja2.Template:
    environment = page_environment(Path(__file__).parent, escape=escape)
    environment.filters |= {"percent": _percent, "fixed": _fixed, "rate": _rate, "cell": _markdown_cell}
    return environment.get_template(name)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.2f} %"


def _fixed(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def _rate(far: str) -> str:
    """A false accept rate as its key in JSON is written, "0.001", for people: "0.1 %"."""
    return f"{float(far) * 100:g} %"


def _markdown_cell(value: Any) -> str:
    """Text that cannot end its table cell."""
    return shown(value).replace("|", "\\|").replace("\n", " ")
