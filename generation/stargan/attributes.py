"""Which picture has which attributes: CelebA's table, the colours of hair that exclude each other, and edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from recognition.errors import InputError

HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")  # of which a picture has one at most
VALUES = {"1": True, "-1": False, "0": False}


@dataclass(frozen=True, eq=False)
class AttributeTable:
    """Names of attributes and of pictures, and who has what, bool (N, A)."""

    names: tuple[str, ...]
    files: tuple[str, ...]
    values_NA: np.ndarray

    def chosen(self, names: Sequence[str]) -> AttributeTable:
        """These attributes alone, in this order; InputError for one that is not there, or is named twice."""
        for name in names:
            if name not in self.names:
                near = get_close_matches(name, self.names, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(self.names)}"
                raise InputError(f"attribute {name!r} is not in the table{hint}")
        if len(set(names)) != len(names):
            raise InputError(f"attributes {' '.join(names)}: name each once")
        columns = [self.names.index(name) for name in names]
        return AttributeTable(tuple(names), self.files, self.values_NA[:, columns])


@dataclass(frozen=True)
class Edit:
    """A change of attributes: of pictures that have `before`, to `after`; what neither names stays as it is."""

    name: str
    names: tuple[str, ...]
    before: dict[str, bool]
    after: dict[str, bool]

    def applies(self, labels_NA: np.ndarray) -> np.ndarray:
        """bool (N,): whether the pictures with these attributes can be edited so."""
        return self._agrees(labels_NA, self.before)

    def holds(self, labels_NA: np.ndarray) -> np.ndarray:
        """bool (N,): whether these have what the edit makes."""
        return self._agrees(labels_NA, self.after)

    def target(self, labels_NA: np.ndarray) -> np.ndarray:
        """The attributes that they shall have, bool (N, A)."""
        target_NA = labels_NA.copy()
        for name, value in self.after.items():
            target_NA[:, self.names.index(name)] = value
        return target_NA

    def _agrees(self, labels_NA: np.ndarray, values: dict[str, bool]) -> np.ndarray:
        columns = [self.names.index(name) for name in values]
        return (labels_NA[:, columns] == np.array([*values.values()], bool)).all(1)


def edits_of(names: Sequence[str], *, exclusive: bool = False) -> list[Edit]:
    """The edits that these attributes allow: from each colour of hair to each other, of all else both ways.

    `exclusive`: all of them exclude each other, as colours of hair do.
    """
    names = tuple(names)
    colours = [name for name in names if exclusive or name in HAIR]
    edits = []
    for old in colours:
        for new in colours:
            if new != old:
                before, after = ({colour: colour == it for colour in colours} for it in (old, new))
                edits.append(Edit(f"{old} to {new}", names, before, after))
    if len(colours) == 1:
        # With no other colour in the list, what is not this colour is all that is known.
        edits += _both_ways(colours[0], names)
    for name in names:
        if name not in colours:
            edits += _both_ways(name, names)
    return edits


def read_attributes(path: str | Path) -> AttributeTable:
    """CelebA's form: the count, the names, and lines `file 1 -1 ...`; InputError with the line that is wrong."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); name the table of attributes") from error
    if len(lines) < 3 or not lines[0].strip().isdigit():
        raise InputError(f"{path}: the first line must be the number of pictures, the second the names (CelebA's form)")
    names = tuple(lines[1].split())
    if len(set(names)) != len(names):
        raise InputError(f"{path} line 2: an attribute is named twice")
    rows = [(number, line.split()) for number, line in enumerate(lines[2:], 3) if line.strip()]
    values_NA = np.empty((len(rows), len(names)), bool)
    for row, (number, words) in enumerate(rows):
        if len(words) != 1 + len(names):
            raise InputError(f"{path} line {number}: {len(words) - 1} values for {len(names)} attributes")
        try:
            values_NA[row] = [VALUES[word] for word in words[1:]]
        except KeyError as error:
            raise InputError(f"{path} line {number}: {error.args[0]} is no value; write 1 or -1") from error
    if len(rows) != int(lines[0]):
        raise InputError(f"{path}: line 1 says {int(lines[0])} pictures, and {len(rows)} follow; copy it again")
    files = tuple(words[0] for _, words in rows)
    if len(set(files)) != len(files):
        raise InputError(f"{path}: a picture has two lines: {_twice(files)}")
    return AttributeTable(names, files, values_NA)


def ambiguous_hair(names: Sequence[str], values_NA: np.ndarray) -> np.ndarray:
    """bool (N,): whose hair is said to have two colours at once."""
    columns = [place for place, name in enumerate(names) if name in HAIR]
    return values_NA[:, columns].sum(1) > 1


def _both_ways(name: str, names: tuple[str, ...]) -> Iterator[Edit]:
    yield Edit(f"{name}: no to yes", names, {name: False}, {name: True})
    yield Edit(f"{name}: yes to no", names, {name: True}, {name: False})


def _twice(files: Sequence[str]) -> str:
    seen: set[str] = set()
    return next(name for name in files if name in seen or seen.add(name))


def shown_targets(
    names: Sequence[str], labels_NA: np.ndarray, *, exclusive: bool = False
) -> list[tuple[str, np.ndarray]]:
    """What a sheet of samples shows beside each picture: titles, and the attributes that all of them shall have.

    Each colour of hair (of `exclusive` ones each attribute) by turns, and everything else the other way round.
    """
    shown = []
    for place, name in enumerate(names):
        if exclusive or name in HAIR:
            group = [other for other, each in enumerate(names) if exclusive or each in HAIR]
            target_NA = labels_NA.copy()
            target_NA[:, group] = False
            target_NA[:, place] = True
            shown.append((name, target_NA))
        else:
            target_NA = labels_NA.copy()
            target_NA[:, place] = ~target_NA[:, place]
            shown.append((f"{name}, other way", target_NA))
    return shown
