"""Which rank this process is, how many there are, and on which device it works: one value, passed in, never fetched."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist

from recognition.cluster.network import choose_interface
from recognition.cluster.rendezvous import rendezvous_address, rendezvous_url
from recognition.environment import agent_keeps_store, keep_flight_record, launched
from recognition.errors import InputError, PeerEnded
from recognition.heap import keep_freed_memory
from recognition.liveness import Heartbeat, beating
from recognition.log import LOG
from recognition.whereabouts import PEER_GONE

# Seconds that the others have to end once all have met for the last time.
LEAVE_S = 10.0


@dataclass(frozen=True)
class Runtime:
    """Place of this process in the run; `world == 1` means that no process group exists and none is needed."""

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")
    backend: str = "none"
    store: dist.Store | None = field(default=None, compare=False)
    timeout_s: float = 600.0
    heartbeat: Heartbeat | None = field(default=None, compare=False, repr=False)

    @property
    def is_main(self) -> bool:
        """True on the one rank that writes files and talks to the user."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every rank has arrived, within the timeout of collectives; no wait in a single process."""
        if self.world > 1:
            with self.collective("barrier"):
                dist.barrier()

    def at(self, phase: str, step: int | None = None) -> None:
        """Note what this rank is doing, for the report of a hang; without `step`, it is still in the one noted last."""
        if self.heartbeat is not None:
            self.heartbeat.at(phase, step)

    def collective(self, name: str) -> AbstractContextManager[None]:
        """Note that this rank waits for the others inside the block, for the report of a hang."""
        return nullcontext() if self.heartbeat is None else self.heartbeat.collective(name)

    def explained(self, error: BaseException) -> BaseException:
        """The error itself, or what to say instead where a collective failed because of another rank."""
        if not isinstance(error, RuntimeError):
            return error
        lost = None if self.heartbeat is None else self.heartbeat.explain(error)
        if lost is None and any(text in str(error) for text in PEER_GONE):
            return PeerEnded("another rank ended first")
        return lost or error

    def wait_for_all(self, what: str) -> None:
        """Wait until every rank has come to the end of `what`, however long that takes them while they are alive.

        Raises PeerLost when a rank was silent for `timeout_s`, PeerEnded when one has ended. For a rank that lives but
        is never done there is no limit.
        """
        if self.heartbeat is None:
            self.barrier()
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # what the GPU still has to do belongs to `what`
        self.heartbeat.wait_for_all(what)


def pick_device(name: str, local_rank: int = 0, local_world: int = 1) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device; InputError when CUDA is asked for and absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise InputError(f"device={name!r} is not known; use auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise InputError(f"device={name} was asked for, but torch sees no CUDA device; use device=cpu or device=auto")
    if ":" in name and local_world > 1:
        raise InputError(f"device={name} would put {local_world} ranks on one GPU; use device=cuda, one GPU for each")
    index = int(name.split(":")[1]) if ":" in name else local_rank
    if index >= torch.cuda.device_count():
        raise InputError(
            f"local rank {local_rank} wants cuda:{index}, but there are {torch.cuda.device_count()} CUDA devices here; "
            f"lower --nproc_per_node"
        )
    return torch.device("cuda", index)


@contextmanager
def start_runtime(device: str = "auto", *, threads: int = 0, collective_timeout_s: float = 600.0) -> Iterator[Runtime]:
    """Take the place that torchrun gave; start the process group where there are several ranks, and end it afterwards.

    `threads` is the number of CPU threads a rank computes with; 0 shares the machine's cores among its ranks.
    """
    place = launched()
    torch_device = pick_device(device, place.local_rank, place.local_world)
    torch.set_num_threads(threads or max(1, usable_cores() // place.local_world))
    if torch_device.type == "cuda":
        torch.cuda.set_device(torch_device)
    else:
        keep_freed_memory()
    if place.world == 1:
        yield Runtime(place.rank, place.world, torch_device, timeout_s=collective_timeout_s)
        return
    backend = "nccl" if torch_device.type == "cuda" else "gloo"
    if backend == "nccl":
        keep_flight_record()
    if place.world > place.local_world and (warning := choose_interface(rendezvous_address()[0]).warning):
        LOG.warning("%s", warning)
    store, _, _ = next(iter(dist.rendezvous(rendezvous_url(), place.rank, place.world)))
    # The restart count keeps a restarted run off the addresses that its dead predecessor left in the store.
    store = dist.PrefixStore(f"restart-{place.restarts}", store)
    dist.init_process_group(
        backend,
        store=store,
        rank=place.rank,
        world_size=place.world,
        timeout=timedelta(seconds=collective_timeout_s),
        device_id=torch_device if backend == "nccl" else None,
    )
    with beating(place.rank, place.world, store, timeout_s=collective_timeout_s) as heartbeat:
        yield Runtime(place.rank, place.world, torch_device, backend, store, collective_timeout_s, heartbeat)
    # Not after an error: NCCL would wait for peers that wait for this rank, and the message would never be seen.
    dist.destroy_process_group()
    if not agent_keeps_store():
        _leave(store, place.rank, place.world)


def _leave(store: dist.Store, rank: int, world: int) -> None:
    """Let the rank whose process holds the store go last: the others may still look at it on their way out."""
    store.add("left", 1)
    deadline = time.monotonic() + LEAVE_S
    while rank == 0 and store.add("left", 0) < world and time.monotonic() < deadline:
        time.sleep(0.01)


def usable_cores() -> int:
    """Cores this process may use, container and affinity limits included."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
