"""The exceptions that commands turn into a single line for the user."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(Exception):
    """Something the user gave is wrong: the message says what, where (file, key, offset, rank) and what to do."""


class Stopped(Exception):
    """A run ended before its time because the `signals` asked for it; its checkpoint is written."""

    def __init__(self, message: str, signals: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.signals = tuple(signals)
