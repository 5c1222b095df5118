"""What other commands take from a report.json: the figures of one of its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def outcomes_of(report: Mapping[str, Any], model: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(target, outcome) of the model at that place, for the targets on which it has one.

    KeyError, TypeError or ValueError for what is no report.
    """
    return [
        (target, outcome)
        for target in report["targets"]
        for place, outcome in zip(target["models"], target["outcomes"], strict=True)
        if place == model
    ]
