"""Where each rank stands, as the ranks say themselves, and what to make of it when one of them does not come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

# What gloo, NCCL and the store say of a peer whose process is gone, and of one that does not come.
PEER_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
TIMED_OUT = ("Timed out waiting", "Application timeout caused", "collective operation timeout", "wait timeout after")
# Ranks that a message names one by one; of more it gives the number.
NAMED = 4


@dataclass(frozen=True)
class Place:
    """What a rank is doing: phase, step (None before the first) and since when on its own clock, in seconds."""

    phase: str
    step: int | None
    since_s: float
    collective: bool = False

    @property
    def text(self) -> str:
        """`all_gather of embeddings (step 17)`."""
        return self.phase if self.step is None else f"{self.phase} (step {self.step})"


@dataclass(frozen=True)
class Beat:
    """What a rank says of itself about once a second; `number` counts, so that no two beats of a rank are equal."""

    rank: int
    number: int
    step: int | None
    phase: str
    phase_s: float
    clock_s: float
    ended: bool = False

    @property
    def text(self) -> str:
        """`step 17, forward`."""
        return self.phase if self.step is None else f"step {self.step}, {self.phase}"

    def encoded(self) -> str:
        """As JSON, for the store."""
        return json.dumps(asdict(self))


def decoded(text: str | bytes) -> Beat:
    """The beat that `encoded` wrote."""
    return Beat(**json.loads(text))


@dataclass
class Peer:
    """Another rank as this one knows it: its last beat, None before the first, and for how long there was no newer."""

    rank: int
    beat: Beat | None = None
    silent_s: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether it said so; one that was killed did not."""
        return self.beat is not None and self.beat.ended

    def hear(self, beat: Beat | None, elapsed_s: float) -> None:
        """Take what the store holds now, `elapsed_s` after the last look."""
        if beat is None or (self.beat is not None and beat.number == self.beat.number):
            self.silent_s += elapsed_s
        else:
            self.beat, self.silent_s = beat, 0.0


def silent(peers: Iterable[Peer], limit_s: float) -> list[Peer]:
    """Those not heard of for `limit_s` that did not say that they end."""
    return [peer for peer in peers if peer.silent_s >= limit_s and not peer.ended]


def behind(peers: Iterable[Peer], own: Place) -> list[Peer]:
    """Those that stand elsewhere: the ones at the earliest step if this rank is past it, else in another phase."""
    known = [peer for peer in peers if peer.beat is not None and not peer.ended]
    steps = [-1 if peer.beat.step is None else peer.beat.step for peer in known]
    own_step = -1 if own.step is None else own.step
    if steps and min(steps) < own_step:
        return [peer for peer, step in zip(known, steps) if step == min(steps)]
    return [peer for peer in known if peer.beat.phase != own.phase]


def blame(peers: list[Peer], own: Place, *, silent_limit_s: float) -> str:
    """Which ranks keep the others waiting: the silent ones, else those that ended, else those that stand elsewhere."""
    if lost := silent(peers, silent_limit_s):
        return _listed(lost, _silence)
    if gone := [peer for peer in peers if peer.ended]:
        return _listed(gone, lambda peer: f"rank {peer.rank} ended (last: {peer.beat.text})")
    if late := behind(peers, own):
        return _listed(late, _standing)
    return "every rank is alive and says that it is there too"


def _silence(peer: Peer) -> str:
    last = "never since the start" if peer.beat is None else f"last: {peer.beat.text}"
    return f"rank {peer.rank} has not been heard of for {peer.silent_s:.1f} s ({last})"


def _standing(peer: Peer) -> str:
    return f"rank {peer.rank} is alive and has stood at {peer.beat.text}, for {peer.beat.phase_s:.1f} s"


def _listed(peers: list[Peer], text: Callable[[Peer], str]) -> str:
    more = f"; and {len(peers) - NAMED} more ranks" if len(peers) > NAMED else ""
    return "; ".join(text(peer) for peer in peers[:NAMED]) + more
