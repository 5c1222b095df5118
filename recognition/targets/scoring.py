"""Every model on every target, told as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.targets.target import Failed, Outcome, Scored, Target, comparison_lines, lines


def score_all(
    targets: Sequence[Target],
    models: Sequence[Embedder],
    names: Sequence[str],
    *,
    runtime: Runtime,
    batch_size: int = 64,
) -> Iterator[Scored]:
    """The outcome of each model, called as in `names`, on each target in turn; the first rank prints them one by one.

    A model that fails on a target is told of and left out there; the others go on. Whatever else ends the work, Ctrl-C
    say, is raised once every target was yielded with what it had by then. InputError, before anything is embedded,
    where a model does not take the pictures of a target.
    """
    for target in targets:
        for model in models:
            target.require_fit(model)
    scoring = _Scoring(models, names, runtime, batch_size)
    for target in targets:
        scored = scoring.score(target)
        yield scored
        scoring.compare(scored)
    if scoring.ended is not None:
        raise scoring.ended


def require_all_scored(scored: Sequence[Scored], names: Sequence[str]) -> None:
    """InputError that names what failed, if anything did."""
    failed = [(entry.target.name, names[each.model], each.reason) for entry in scored for each in entry.failed]
    if not failed:
        return
    target, name, reason = failed[0]
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    raise InputError(f"there are no figures of {name} on {target}{others}: {reason}")


@dataclass
class _Scoring:
    """`ended`: what put an end to it all; from then on nothing is scored any more."""

    models: Sequence[Embedder]
    names: Sequence[str]
    runtime: Runtime
    batch_size: int
    ended: BaseException | None = None

    def score(self, target: Target) -> Scored:
        """Told model by model."""
        outcomes, failed = [], []
        for place, (name, model) in enumerate(zip(self.names, self.models)):
            about = target.name if len(self.models) == 1 else f"{target.name}, {name}"
            found = self._outcome(target, model)
            if isinstance(found, BaseException):
                failed.append(Failed(place, self._reason(found), getattr(found, "finding", None)))
                self._tell(f"{about}: no figures: {failed[-1].reason}")
            else:
                outcomes.append(found)
                self._tell(*lines(about, found))
        return Scored(target, tuple(outcomes), tuple(failed))

    def compare(self, scored: Scored) -> None:
        """Told once the outcomes were handed over: resampling takes a while, and must not cost them."""
        if scored.outcomes and self.ended is None and self.runtime.is_main:
            left = [self.names[place] for place in scored.models]
            self._tell(*comparison_lines(scored.target.name, left, scored.target.compare(scored.outcomes)))

    def _outcome(self, target: Target, model: Embedder) -> Outcome | BaseException:
        if self.ended is not None:
            return self.ended
        try:
            return target.score(model, runtime=self.runtime, batch_size=self.batch_size)
        except InputError as error:
            return error
        except BaseException as error:  # raised again when all that is there was handed over
            self.ended = error
            return error

    def _reason(self, error: BaseException) -> str:
        if error is not self.ended:
            return str(error)
        return f"the command ended before ({' '.join(f'{type(error).__name__}: {error}'.split()).rstrip(': ')})"

    def _tell(self, *told: str) -> None:
        if self.runtime.is_main:
            for line in told:
                print(line, flush=True)
