"""What is known of where a model comes from: its run's config, provenance and report; nothing where nobody wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recognition.data.sources.shards import rec_entries
from recognition.errors import InputError
from recognition.provenance import newest_provenance
from recognition.report.reading import outcomes_of

# What of a config a stranger can use: no paths, no accounts, nothing that only says where a run worked.
RECIPE = (
    *("loss", "margin_list", "scale", "sample_rate", "batch_size", "gradient_acc", "optimizer", "lr"),
    *("momentum", "weight_decay", "num_epoch", "warmup_epoch", "schedule", "precision", "ema_decay", "dropout"),
    *("flip", "augment", "seed"),
)
TRACES = ("version", "commit", "config_sha256", "data_sha256", "torch", "device", "ranks", "started")  # not the host


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on one set of pairs; `cosine`: the similarity above which the report took two faces for one person."""

    name: str
    accuracy: float
    accuracy_std: float | None = None
    pairs: int | None = None
    cosine: float | None = None


@dataclass(frozen=True)
class Origin:
    """`data`: the name of the training set, its pictures and identities; `recipe` and `traces` as the run stored them.

    `evaluated_by` says where the evaluations stand: "report.json" or "the weights themselves", None without any.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    traces: Mapping[str, Any] = field(default_factory=dict)
    evaluations: Sequence[Evaluation] = ()
    evaluated_by: str | None = None


def origin_of(model: Path, meta: Mapping[str, Any], report: Path | None = None) -> Origin:
    """What the run directory `model`, or the one that a file lies in, says of itself and of its accuracy.

    `report`: a report.json to take instead of the run's. InputError where that is unreadable, or of other weights.
    """
    run = model if model.is_dir() else model.parent
    config = _config(run / "config.json")
    found = (newest_provenance(run) or {}) if config else {}
    evaluations, evaluated_by = _evaluations(run, meta, report)
    return Origin(
        data=_data(config),
        recipe={key: config[key] for key in RECIPE if config.get(key) not in (None, [], "")},
        traces={key: found[key] for key in TRACES if found.get(key) is not None},
        evaluations=evaluations,
        evaluated_by=evaluated_by,
    )


def _config(path: Path) -> dict[str, Any]:
    """The config.json of a run; {} where there is none, or it is another program's."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) and "rec" in config and "network" in config else {}


def _data(config: Mapping[str, Any]) -> dict[str, Any]:
    if not config.get("rec"):
        return {}
    names = ",".join(Path(entry).name for entry in rec_entries(config["rec"]))
    return {"name": names, "images": config.get("num_image"), "identities": config.get("num_classes")}


def _evaluations(run: Path, meta: Mapping[str, Any], given: Path | None) -> tuple[list[Evaluation], str | None]:
    path = given or run / "report" / "report.json"
    if given is not None or path.is_file():
        found = _of_report(path, meta["sha256"], must_fit=given is not None)
        if found:
            return found, "report.json"
    stored = [Evaluation(name, value) for name, value in (meta.get("accuracy") or {}).items()]
    return stored, "the weights themselves" if stored else None


def _of_report(path: Path, sha256: str, *, must_fit: bool) -> list[Evaluation]:
    """What a report says of the model with these weights.

    A run's own report says nothing where it is of other weights, or of an earlier version.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        hashes = [model.get("sha256") for model in report["models"]]
        outcomes = outcomes_of(report, hashes.index(sha256) if sha256 in hashes else -1)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if not must_fit:
            return []
        raise InputError(f"{path} is not a report of launch/verify.py; name its report.json") from error
    if sha256 not in hashes:
        if must_fit:
            raise InputError(
                f"{path} is of other weights (SHA-256 {', '.join(str(found)[:12] for found in hashes)}, not "
                f"{sha256[:12]}); verify this model with launch/verify.py --out DIR and name its report.json"
            )
        return []
    return [
        Evaluation(
            target["name"],
            outcome["accuracy"],
            outcome.get("accuracy_std"),
            outcome.get("pairs"),
            None if outcome.get("threshold") is None else 1 - outcome["threshold"] / 2,
        )
        for target, outcome in outcomes
        if outcome.get("accuracy") is not None
    ]
