"""What a verification found, for people and for programs: index.html (self-contained), report.md and report.json.

report.json, schema "arcscale.verification.1"; numbers that are not finite are null:
    created        ISO time, UTC
    model          what is known of the model: network, params, sha256, file, normalisation, config, ... (any JSON);
                   of a run provenance, too: commit, config_sha256, data_sha256, torch, ... (recognition/provenance.py)
    targets[]      name, pairs, genuine, impostor, accuracy, accuracy_std, fold_accuracies[], fold_thresholds[],
                   threshold, auc, eer, tar_at_far {"0.001": share or null}, xnorm, warnings[],
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
from recognition.spread import spread
from recognition.strict_json import finite
from recognition.verification.charts import MAX_POINTS, cosine, histogram_svg, loss_svg, roc_svg, score_histogram
from recognition.verification.glossary import GLOSSARY
from recognition.verification.pairs import Pairs
from recognition.verification.scores import Score

SCHEMA = "arcscale.verification.1"
WORST = 6
BAD_RECORDS = 20
HTML, MARKDOWN, JSON = "index.html", "report.md", "report.json"


def write_report(
    out_dir: str | PathLike,
    results: Mapping[str, Score],
    *,
    model: dict[str, Any],
    targets: Mapping[str, Pairs] | None = None,
    training_rows: Iterable[Mapping[str, Any]] | None = None,
    bad_records: Sequence[BadRecord] = (),
) -> Path:
    """Write the three files into `out_dir` and return the path of the HTML page.

    `results` by target name; `targets` holds the pictures of the pairs that went wrong; `training_rows` are rows of
    metrics.jsonl, of which those of kind "train" draw the loss curve; the pages name the first of the `bad_records`.
    """
    out_dir = Path(out_dir)
    facts = {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": model,
        "targets": [_target_facts(name, score) for name, score in results.items()],
        "training": _training_facts(training_rows),
        "bad_records": [asdict(record) for record in bad_records],
    }
    facts = finite(facts)
    view = _view(facts, results, targets or {})
    pages = {
        HTML: _template("report.html", escape=True).render(view),
        MARKDOWN: _template("report.md", escape=False).render(view),
        JSON: json.dumps(facts, indent=1, allow_nan=False) + "\n",
    }
    for name, text in pages.items():
        write_text(out_dir / name, text)
    return out_dir / HTML


def _target_facts(name: str, score: Score) -> dict[str, Any]:
    result = score.result
    accepted_P = result.distances_P < result.threshold
    false_accepts = np.flatnonzero(accepted_P & ~result.issame_P)
    false_rejects = np.flatnonzero(~accepted_P & result.issame_P)
    edges, genuine, impostor = score_histogram(result)
    keep = spread(len(result.roc_far), MAX_POINTS)
    return {
        "name": name,
        "pairs": len(result.issame_P),
        "genuine": result.num_genuine,
        "impostor": result.num_impostor,
        "accuracy": result.accuracy,
        "accuracy_std": result.accuracy_std,
        "fold_accuracies": result.fold_accuracies,
        "fold_thresholds": result.fold_thresholds,
        "threshold": result.threshold,
        "auc": result.auc,
        "eer": result.eer,
        "tar_at_far": {f"{far:g}": tar for far, tar in result.tar_at_far.items()},
        "xnorm": score.xnorm,
        "warnings": result.warnings,
        "num_false_accepts": len(false_accepts),
        "num_false_rejects": len(false_rejects),
        "false_accepts": _worst(false_accepts, result.distances_P, sign=1),
        "false_rejects": _worst(false_rejects, result.distances_P, sign=-1),
        "roc": {"far": result.roc_far[keep], "tar": result.roc_tar[keep], "distance": result.roc_distances[keep]},
        "histogram": {"cosine_edges": edges, "genuine": genuine, "impostor": impostor},
    }


def _worst(pairs: np.ndarray, distances_P: np.ndarray, *, sign: int) -> list[dict[str, Any]]:
    """The `WORST` pairs with the smallest sign * distance."""
    chosen = pairs[np.argsort(sign * distances_P[pairs], kind="stable")][:WORST]
    return [{"pair": int(p), "distance": distances_P[p], "cosine": cosine(distances_P[p])} for p in chosen]


def _training_facts(rows: Iterable[Mapping[str, Any]] | None) -> dict[str, list] | None:
    rows = [row for row in rows or () if row.get("kind") == "train"]
    if not rows:
        return None
    rows = [rows[index] for index in spread(len(rows), MAX_POINTS)]
    return {key: [row.get(key) for row in rows] for key in ("step", "loss", "lr")}


def _view(
    facts: dict[str, Any],
    results: Mapping[str, Score],
    targets: Mapping[str, Pairs],
) -> dict[str, Any]:
    """What the templates show beside the facts: charts, pictures, the false accept rates that any target can tell."""
    fars = dict.fromkeys(far for t in facts["targets"] for far, tar in t["tar_at_far"].items() if tar is not None)
    shown = []
    for target in facts["targets"]:
        result = results[target["name"]].result
        mistakes = {
            kind: [{**pair, "pictures": _pictures(targets.get(target["name"]), pair["pair"])} for pair in target[kind]]
            for kind in ("false_accepts", "false_rejects")
        }
        charts = {
            "roc": data_uri("svg+xml", roc_svg(result)),
            "histogram": data_uri("svg+xml", histogram_svg(result)),
        }
        shown.append({**target, **mistakes, **charts})
    training, model = facts["training"], dict(facts["model"])
    provenance = model.pop("provenance", None) or {}
    loss = None
    if training:
        columns = ([math.nan if value is None else value for value in training[k]] for k in ("step", "loss", "lr"))
        loss = data_uri("svg+xml", loss_svg(*columns))
    return {
        **facts,
        "targets": shown,
        "subject": facts["model"].get("network") or Path(facts["model"].get("file") or "the model").name,
        "fars": list(fars),
        "loss": loss,
        "plain": {key: value for key, value in model.items() if not isinstance(value, (dict, list))},
        "nested": {key: value for key, value in model.items() if isinstance(value, (dict, list)) and value},
        "provenance": provenance,
        "bad_shown": facts["bad_records"][:BAD_RECORDS],
        "glossary": GLOSSARY,
    }


def _pictures(pairs: Pairs | None, pair: int) -> list[str]:
    """The two pictures of a pair as data URIs; none when the pictures were not given."""
    if pairs is None:
        return []
    rows = (pairs.images[2 * pair], pairs.images[2 * pair + 1])
    return [data_uri("jpeg", simplejpeg.encode_jpeg(np.ascontiguousarray(row), 92)) for row in rows]


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
