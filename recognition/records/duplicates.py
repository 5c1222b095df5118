"""Pictures that are in a set more than once, byte for byte: in one class (repeats), or in several (label conflicts)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_NAMED = 10
_AT_ONCE = 1 << 20
Payload = bytes | memoryview


def picture_hash(payload: Payload) -> int:
    """64 bits of the bytes, as a number."""
    return int.from_bytes(hashlib.blake2b(payload, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Duplicates:
    """The n records whose picture is in the set more than once; int64 (n,), equal pictures have one `groups` number.

    Ordered by group and, in it, by key; groups are numbered 0, 1, 2, ... in the order of their first keys.
    """

    groups: np.ndarray
    keys: np.ndarray
    labels: np.ndarray

    @property
    def num_repeats(self) -> int:
        """Images that could go, for their class keeps the same picture once."""
        return len(self.keys) - len(self._labels_of_groups[0])

    @property
    def conflicts(self) -> np.ndarray:
        """Numbers (int64) of the groups whose picture has several labels."""
        groups, labels = np.unique(self._labels_of_groups[0], return_counts=True)
        return groups[labels > 1]

    @property
    def _labels_of_groups(self) -> np.ndarray:
        """(group, label) pairs that occur, int64 (2, m)."""
        return np.unique(np.stack([self.groups, self.labels]), axis=1)

    def remarks(self) -> list[str]:
        """In words: how many there are, and the first label conflicts."""
        remarks = []
        if self.num_repeats:
            remarks.append(f"repeats: {self.num_repeats} images are in their class once more, byte for byte")
        conflicts = self.conflicts
        if len(conflicts):
            remarks.append(f"label conflicts: {len(conflicts)}, the same picture in several classes")
            remarks += [f"  {self._members(group)}" for group in conflicts[:MOST_NAMED]]
        if len(conflicts) > MOST_NAMED:
            remarks.append(f"  ... and {len(conflicts) - MOST_NAMED} more")
        return remarks

    def _members(self, group: int) -> str:
        members = np.flatnonzero(self.groups == group)
        named = [f"key {self.keys[place]} (class {self.labels[place]})" for place in members[:MOST_NAMED]]
        return " = ".join(named + ["..."] * (len(members) > MOST_NAMED))

    def facts(self) -> dict[str, Any]:
        """Counts for JSON; the records themselves are in `table`."""
        return {"images": len(self.keys), "repeats": self.num_repeats, "conflicts": len(self.conflicts)}

    def table(self) -> str:
        """CSV of all of them: `group,key,class`."""
        rows = zip(self.groups.tolist(), self.keys.tolist(), self.labels.tolist())
        return "group,key,class\n" + "".join(f"{group},{key},{label}\n" for group, key, label in rows)


def find_duplicates(
    keys: np.ndarray, labels: np.ndarray, hashes: np.ndarray, read: Callable[[int], Payload]
) -> Duplicates:
    """Records of `keys` (int64) with equal pictures, by their `hashes` (uint64); `read` gives the bytes of a key.

    Equal hashes are a suspicion; the bytes decide. Memory beside the arguments: 8 bytes an image while it sorts.
    """
    ordered = np.sort(hashes)
    several = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    places = _places_of(several, hashes)
    group_of: dict[tuple[int, bytes], int] = {}
    # A digest stands for the bytes, so the pictures themselves are not held.
    exact = [(int(hashes[place]), hashlib.sha256(read(int(keys[place]))).digest()) for place in places]
    groups = np.array([group_of.setdefault(of, len(group_of)) for of in exact], np.int64)
    counts = np.bincount(groups, minlength=1)[groups]
    places, groups = places[counts > 1], groups[counts > 1]
    # Numbers without the gaps of those that were no duplicates after all.
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    order = np.argsort(groups, kind="stable")
    return Duplicates(groups[order], keys[places][order], labels[places][order])


def _places_of(values: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Places of the hashes that are among `values` (ascending), block by block."""
    if not len(values):
        return np.zeros(0, np.int64)
    found = []
    for start in range(0, len(hashes), _AT_ONCE):
        block = hashes[start : start + _AT_ONCE]
        nearest = np.minimum(np.searchsorted(values, block), len(values) - 1)
        found.append(start + np.flatnonzero(values[nearest] == block))
    return np.concatenate(found)
