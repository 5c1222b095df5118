"""Every model on every target, told as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.targets.target import Failed, Scored, Target, comparison_lines, lines


def score_all(
    targets: Sequence[Target],
    models: Sequence[Embedder],
    names: Sequence[str],
    *,
    runtime: Runtime,
    batch_size: int = 64,
) -> Iterator[Scored]:
    """The outcome of each model, called as in `names`, on each target in turn; the first rank prints them one by one.

    A model that fails on a target is told of and left out there; the others go on. InputError, before anything is
    embedded, where a model does not take the pictures of a target.
    """
    for target in targets:
        for model in models:
            target.require_fit(model)
    for target in targets:
        yield _score(target, models, names, runtime, batch_size)


def require_all_scored(scored: Sequence[Scored], names: Sequence[str]) -> None:
    """InputError that names what failed, if anything did."""
    failed = [(entry.target.name, names[each.model], each.reason) for entry in scored for each in entry.failed]
    if not failed:
        return
    target, name, reason = failed[0]
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    raise InputError(f"there are no figures of {name} on {target}{others}: {reason}")


def _score(
    target: Target, models: Sequence[Embedder], names: Sequence[str], runtime: Runtime, batch_size: int
) -> Scored:
    outcomes, failed = [], []
    for place, (name, model) in enumerate(zip(names, models)):
        about = target.name if len(models) == 1 else f"{target.name}, {name}"
        try:
            outcomes.append(target.score(model, runtime=runtime, batch_size=batch_size))
        except InputError as error:
            failed.append(Failed(place, str(error), getattr(error, "finding", None)))
            if runtime.is_main:
                print(f"{about}: no figures: {error}", flush=True)
            continue
        if runtime.is_main:
            print("\n".join(lines(about, outcomes[-1])), flush=True)
    scored = Scored(target, tuple(outcomes), tuple(failed))
    if runtime.is_main and outcomes:
        left = [names[place] for place in scored.models]
        for line in comparison_lines(target.name, left, target.compare(outcomes)):
            print(line, flush=True)
    return scored
