"""Which sample is shown in the place of one that cannot be read: a pure function of (seed, epoch, sample).

Ranks, threads and resumes do not matter, and no list is kept: whoever meets the bad sample finds the same substitute.
It is seen twice in that epoch, another one in the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recognition.data.sources import Source
from recognition.errors import InputError
from recognition.permutation import permutation_keys, permuted_first

# A set in which so many draws in a row are bad is not one that a run can do without.
MOST_SUBSTITUTES = 10
OTHER_KEY = int.from_bytes(b"other", "big")


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A sample that cannot be read: its source index, the place where it lies and what is wrong there."""

    index: int
    place: str
    reason: str


def substitutes(index: int, *, epoch: int, num_samples: int, seed: int) -> list[int]:
    """Source indices to try in the place of `index`, in order: others, each once, MOST_SUBSTITUTES where there are."""
    keys = permutation_keys(seed, epoch, OTHER_KEY, index)
    others = permuted_first(min(MOST_SUBSTITUTES, num_samples - 1), num_samples - 1, keys) if num_samples > 1 else []
    return [int(other + (other >= index)) for other in others]


def read_or_substitute(
    source: Source, index: int, read: Callable[[int], None], *, epoch: int, seed: int
) -> tuple[BadRecord, ...]:
    """Call `read` with `index` and, while it raises InputError, with one substitute after the other; all that were bad.

    InputError when none of them can be read.
    """
    bad: list[BadRecord] = []
    for candidate in _candidates(index, epoch=epoch, num_samples=len(source), seed=seed):
        try:
            read(candidate)
            return tuple(bad)
        except InputError as error:
            place = source.describe(candidate)
            bad.append(BadRecord(candidate, place, str(error).removeprefix(f"{place}: ")))
    raise InputError(
        f"{bad[0].place}: {bad[0].reason} (nor can any of the {len(bad) - 1} be read that would stand in for it: "
        f"check the set with launch/records.py verify)"
    )


def _candidates(index: int, *, epoch: int, num_samples: int, seed: int) -> Iterator[int]:
    yield index
    yield from substitutes(index, epoch=epoch, num_samples=num_samples, seed=seed)
