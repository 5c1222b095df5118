"""The exceptions that commands turn into a single line for the user; recognition/command.py has their exit codes."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(Exception):
    """Something the user gave is wrong: the message says what, where (file, key, offset, rank) and what to do."""


class GivingUp(InputError):
    """The run was restarted too often without getting any further: another restart would not help."""


class Stopped(Exception):
    """The run ended early because `signals` asked it to, after its checkpoint was written; it can be resumed."""

    def __init__(self, message: str, signals: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.signals = tuple(signals)


class PeerLost(Exception):
    """Another rank is silent, or does not come to where this one waits: the message names it and says where it was."""


class PeerEnded(Exception):
    """Another rank ended while this one waited for it; that rank's own message says why."""


class ReplicasDiffer(Exception):
    """Ranks hold different values of what must be equal: no step after this one can be trusted."""
