"""Every model on every target, told as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from recognition.embedding.models import Embedder
from recognition.runtime import Runtime
from recognition.targets.target import Scored, Target, comparison_lines, lines


def score_all(
    targets: Sequence[Target],
    models: Sequence[Embedder],
    names: Sequence[str],
    *,
    runtime: Runtime,
    batch_size: int = 64,
) -> list[Scored]:
    """The outcome of each model, called as in `names`, on each target; the first rank prints them one by one.

    InputError, before anything is embedded, where a model does not take the pictures of a target.
    """
    for target in targets:
        for model in models:
            target.require_fit(model)
    return [_score(target, models, names, runtime, batch_size) for target in targets]


def _score(
    target: Target, models: Sequence[Embedder], names: Sequence[str], runtime: Runtime, batch_size: int
) -> Scored:
    outcomes = []
    for name, model in zip(names, models):
        outcomes.append(target.score(model, runtime=runtime, batch_size=batch_size))
        if runtime.is_main:
            about = target.name if len(models) == 1 else f"{target.name}, {name}"
            print("\n".join(lines(about, outcomes[-1])), flush=True)
    if runtime.is_main:
        for line in comparison_lines(target.name, names, target.compare(outcomes)):
            print(line, flush=True)
    return Scored(target, tuple(outcomes))
