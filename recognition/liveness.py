"""Every rank's heartbeat: who hangs and where, and patience with ranks that work for longer than a collective may wait.

A thread of each rank tells the store about once a second where the rank stands, and reads what the others say. A rank
that is stopped, or whose Python holds its lock, falls silent; one that was killed does not say that it ends.
Not supported: finding a rank that lives but is never done. `wait_for_all` waits for it as long as it takes.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from recognition.errors import PeerEnded, PeerLost
from recognition.log import LOG
from recognition.whereabouts import PEER_GONE, TIMED_OUT, Beat, Peer, Place, blame, decoded, silent

BEAT_S = 1.0
# Ranks that are looked at with every beat; where there are more, only every second, third, ... beat: the store is one.
LOOK_RANKS = 64
# Seconds between two questions to the store while a rank waits for all; shorter at first.
POLL_S = 0.05
# A report names a rank that was not heard of for so long. It is given up only after the timeout of collectives.
SUSPECT_S = 5.0
STORE_GONE = "the store in which the ranks meet is gone: the launcher or rank 0 ended first"
STORE_SILENT = "the store in which the ranks meet has not answered for {:.1f} s: the launcher or rank 0 stands still"


@contextmanager
def beating(rank: int, world: int, store: dist.Store, *, timeout_s: float) -> Iterator[Heartbeat]:
    """Beat inside the block, and say at its end that this rank ends.

    The error of a collective that waited for a silent or late rank becomes a PeerLost that names it.
    """
    heartbeat = Heartbeat(rank, world, store, timeout_s=timeout_s)
    heartbeat.start()
    try:
        yield heartbeat
    except RuntimeError as error:
        explained = heartbeat.explain(error)
        if explained is None:
            raise
        raise explained from error
    finally:
        heartbeat.stop()


class Heartbeat:
    """Where this rank stands, and what it knows of its peers."""

    def __init__(self, rank: int, world: int, store: dist.Store, *, timeout_s: float) -> None:
        self.rank, self.world, self.timeout_s = rank, world, timeout_s
        self.place = Place("the start", None, time.monotonic())
        self.peers = [Peer(other) for other in range(world) if other != rank]
        self.looks = 0
        self.beat_s = min(BEAT_S, timeout_s / 10)
        self.suspect_s = min(SUSPECT_S, timeout_s / 2)
        # NCCL aborts the process at its timeout; the report has to be there before.
        self.report_s = timeout_s - min(5.0, timeout_s / 5)
        # A connection of its own: the main one may be held by whoever waits for a key.
        self._store = store.clone()
        self._beats, self._looked_s, self._look_now = 0, time.monotonic(), False
        self._meeting, self._arrived, self._met, self._poll_s = 0, 0, 0, POLL_S
        self._answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._reported: Place | None = None
        self._wake, self._ending = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    # ---- called by the rank itself -----------------------------------------------------------------------------------

    def at(self, phase: str, step: int | None = None) -> None:
        """Note what this rank is doing; without `step`, it is still in the one noted last."""
        self.place = Place(phase, self.place.step if step is None else step, time.monotonic())

    @contextmanager
    def collective(self, name: str) -> Iterator[None]:
        """Note that this rank waits for the others inside the block; an error leaves the note, for the report."""
        before = self.place
        self.place = Place(name, before.step, time.monotonic(), collective=True)
        yield
        self.place = before

    def wait_for_all(self, what: str) -> None:
        """Wait until every rank has called this as often, however long it takes while all of them live.

        Raises PeerLost when a rank was silent for the timeout, PeerEnded when one has ended.
        """
        before = self.place
        self.at(f"wait for all at {what}")
        self._meeting += 1
        self._wake.set()
        looks, quiet_s = self.looks, 0.0
        while True:
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=self.beat_s)
                break
            # Counted in waits: the clock goes on while this very process is stopped.
            quiet_s = quiet_s + self.beat_s if looks == self.looks else 0.0
            looks = self.looks
            if quiet_s >= self.timeout_s:
                answer = self._given_up(STORE_SILENT.format(quiet_s))
                break
        if answer is not None:
            raise answer
        self.place = before

    def explain(self, error: Exception) -> PeerLost | None:
        """What to say instead of `error` when a collective failed because of a silent or late rank, else None."""
        late, gone = (any(part in str(error) for part in parts) for parts in (TIMED_OUT, PEER_GONE))
        if not (late or gone):
            return None
        store_silent_s = self._look_again()
        if gone and (store_silent_s or not silent(self.peers, self.suspect_s)):
            return None
        who = STORE_SILENT.format(store_silent_s) if store_silent_s else self._blame()
        how = "failed" if gone else f"timed out after {self.timeout_s:g} s"
        return PeerLost(f"{who}; {self.place.text} {how}; {self._report(who, error)}")

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Say that this rank ends; a store that does not answer is not waited for."""
        self._ending = True
        self._wake.set()
        self._thread.join(1.0)

    def _look_again(self) -> float:
        """0 when the peers were looked at from now on, else the seconds in which the store did not answer."""
        begun = time.monotonic()
        wanted = self.looks + 2  # the look that is under way may be old
        while self.looks < wanted:
            waited_s = time.monotonic() - begun
            if waited_s > 2.0 + self.beat_s or not self._thread.is_alive():
                return max(waited_s, 0.1)
            self._look_now = True
            self._wake.set()
            time.sleep(0.01)
        return 0.0

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        due_s = 0.0
        try:
            while not self._ending:
                now = time.monotonic()
                if now >= due_s:
                    self._say()
                    due_s = now + self.beat_s
                    self._look_now |= self._beats % -(-self.world // LOOK_RANKS) == 0
                if self._look_now:
                    self._look_now = False
                    self.look()
                    self._warn()
                self._meet()
                waiting = self._met < self._arrived
                self._wake.wait(min(self._poll_s if waiting else self.beat_s, max(0.0, due_s - time.monotonic())))
                self._wake.clear()
                self._poll_s = min(POLL_S, 2 * self._poll_s)
            self._say(ended=True)
        except RuntimeError:  # what the store raises
            self._answers.put(PeerEnded(STORE_GONE))

    def _say(self, *, ended: bool = False) -> None:
        place, self._beats = self.place, self._beats + 1
        held_s = time.monotonic() - place.since_s
        beat = Beat(self.rank, self._beats, place.step, place.phase, held_s, time.time(), ended)
        self._store.set(_key(self.rank), beat.encoded())

    def look(self) -> None:
        """Read what the peers say of themselves; called by the thread."""
        now = time.monotonic()
        # A long time between two looks means that this process was stopped, and says nothing of the others.
        elapsed_s = min(now - self._looked_s, 3 * self.beat_s * -(-self.world // LOOK_RANKS))
        self._looked_s = now
        heard = [peer for peer in self.peers if peer.beat is not None or self._store.check([_key(peer.rank)])]
        keys = [_key(peer.rank) for peer in heard]
        texts = self._store.multi_get(keys) if self._store.has_extended_api() else map(self._store.get, keys)
        beats = {beat.rank: beat for beat in map(decoded, texts)}
        for peer in self.peers:
            peer.hear(beats.get(peer.rank), elapsed_s)
        self.looks += 1

    def _meet(self) -> None:
        """Announce this rank where it waits for all, and answer it when all have come or one will not."""
        if self._arrived < self._meeting:
            self._arrived, self._poll_s = self._meeting, POLL_S / 16
            # Nobody comes to the next meeting before this one is complete, so that one counter serves all of them.
            if self._store.add("liveness/arrived", 1) == self._arrived * self.world:
                self._store.set(f"liveness/met-{self._arrived}", "")
        if self._met == self._arrived:
            return
        ended = [peer for peer in self.peers if peer.ended]
        # In this order: a rank may end as soon as all have met.
        if self._store.check([f"liveness/met-{self._arrived}"]):
            answer = None
        elif ended:
            answer = PeerEnded(f"{self._blame()} before this one was done with its {self.place.text}")
        elif silent(self.peers, self.timeout_s):
            answer = self._given_up(self._blame())
        else:
            return
        self._met = self._arrived
        self._answers.put(answer)

    def _warn(self) -> None:
        """Report a hang shortly before it ends in a timeout, once for each place."""
        place = self.place
        held_s = time.monotonic() - place.since_s
        waits = place.collective and held_s >= self.report_s
        if place is not self._reported and (waits or silent(self.peers, self.report_s)):
            self._report(f"{self._blame()}; this rank is in {place.text} for {held_s:.1f} s")

    # ---- reports -----------------------------------------------------------------------------------------------------

    def _blame(self) -> str:
        return blame(self.peers, self.place, silent_limit_s=self.suspect_s)

    def _given_up(self, who: str) -> PeerLost:
        return PeerLost(f"{who}; {self.place.text} was given up; {self._report(who)}")

    def _report(self, line: str, error: Exception | None = None) -> str:
        """Write `line`, the stacks of this process and of `error`, once for each place; returns where they are."""
        files = [handler for handler in LOG.handlers if isinstance(handler, logging.FileHandler)]
        if self.place is not self._reported:
            self._reported = self.place
            text = f"[rank {self.rank}] hang: {line}\n{stacks()}"
            if error is not None:  # the main thread has left the place since
                text += "\n" + "".join(traceback.format_exception(error))
            record = LOG.makeRecord(LOG.name, logging.ERROR, __file__, 0, text, (), None)
            for handler in files:
                handler.handle(record)
            if not files:
                print(text, file=sys.stderr, flush=True)
        return f"stacks {'in ' + files[0].baseFilename if files else 'above'}"


def stacks() -> str:
    """Where every thread of this process stands, in Python's terms; the main thread first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sorted(sys._current_frames().items(), key=lambda item: item[0] != threading.main_thread().ident)
    parts = [f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}" for ident, frame in frames]
    return "\n".join(parts)


def _key(rank: int) -> str:
    return f"liveness/beat-{rank}"
