"""What somebody asks an edit for, in words: `Blond_Hair=1 Male=0`; colours of hair exclude each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from generation.stargan.attributes import HAIR
from recognition.errors import InputError

YES_OR_NO = {"1": True, "0": False, "-1": False, "yes": True, "no": False}


@dataclass(frozen=True)
class Asked:
    """The attributes that can be asked for; `exclusive`: each picture has one of them, and no other."""

    names: tuple[str, ...]
    exclusive: bool = False

    def values(self, words: Sequence[str], flag: str) -> dict[str, bool]:
        """What words such as `Male=0` say; InputError, with `flag`, for what is not known, not clear or impossible."""
        values: dict[str, bool] = {}
        for word in words:
            name, sign, value = word.partition("=")
            if name not in self.names:
                raise InputError(f"{flag} {word}: the generator knows {', '.join(self.names)}")
            if not sign or value not in YES_OR_NO or name in values:
                raise InputError(f"{flag} {word}: give each attribute once, as {name}=1 or {name}=0")
            values[name] = YES_OR_NO[value]
        for name in values:
            if len(at_once := [other for other in self._beside(name) if values.get(other)]) > 1:
                raise InputError(f"{flag} {' '.join(words)}: a picture has one of {', '.join(at_once)} at a time")
        return values

    def targets(self, labels_BA: np.ndarray, wanted: Mapping[str, bool]) -> np.ndarray:
        """The attributes, bool (B, A), that pictures with `labels_BA` shall have."""
        targets_BA = labels_BA.copy()
        for name, value in wanted.items():
            if value:
                targets_BA[:, [self.names.index(other) for other in self._beside(name)]] = False
            targets_BA[:, self.names.index(name)] = value
        return targets_BA

    def unknown(self, *known: Mapping[str, bool]) -> list[str]:
        """The attributes of which nobody says anything: not these, and not one of which another excludes them."""
        said: set[str] = set()
        for values in known:
            said |= {*values}
            said |= {other for name, value in values.items() if value for other in self._beside(name)}
        return [name for name in self.names if name not in said]

    def _beside(self, name: str) -> Iterable[str]:
        """The attributes, itself included, of which a picture has one at most."""
        if self.exclusive:
            return self.names
        return [other for other in self.names if other in HAIR] if name in HAIR else [name]
