"""Which checkpoints stay when a new one has been written."""

from __future__ import annotations

from collections.abc import Collection


def retained(
    steps: Collection[int], best_steps: Collection[int], *, keep_last: int, keep_every_steps: int, keep_best: bool
) -> set[int]:
    """Of `steps`: the newest `keep_last`, multiples of `keep_every_steps` (0 = none), and the newest of `best_steps`.

    A checkpoint written as the best so far thus stays until a better one is.
    """
    kept = set(sorted(steps)[-keep_last:])
    if keep_every_steps:
        kept |= {step for step in steps if step % keep_every_steps == 0}
    best = set(best_steps) & set(steps)
    if keep_best and best:
        kept.add(max(best))
    return kept
