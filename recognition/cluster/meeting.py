"""How the ranks of a preflight find each other: by a plain store, which can still say who is missing and why."""

from __future__ import annotations

import socket
import time
from datetime import timedelta

import torch.distributed as dist

from recognition.cluster.hosts import parse_hosts
from recognition.cluster.network import gloo_default_address, interface_addresses
from recognition.cluster.reach import misleading_address, reach
from recognition.environment import Launched, agent_keeps_store, chosen_interface, slurm_job
from recognition.errors import InputError

POLL_S = 0.05
# A listener that was there a moment ago answers at once, or is behind a firewall.
PEER_TIMEOUT_S = 10.0


def meet(place: Launched, host: str, port: int, *, timeout_s: float) -> dist.Store:
    """A store that every rank has arrived at; InputError where `host` cannot be reached, or ranks are missing."""
    if misled := misleading_address(host, place.rank, place.local_world):
        raise InputError(misled)
    listens = place.rank == 0 and not agent_keeps_store()
    if not listens:
        reach(host, port, timeout_s=timeout_s)
    wait = timedelta(seconds=timeout_s)
    try:
        store = dist.TCPStore(host, port, place.world, is_master=listens, wait_for_workers=False, timeout=wait)
    except (RuntimeError, ValueError) as error:
        what = "listen" if listens else "join"
        raise InputError(
            f"{socket.gethostname()} cannot {what} at {host}:{port} ({str(error).splitlines()[0]}); "
            f"is the port taken, or the address another host's?"
        ) from error
    store = dist.PrefixStore(f"preflight-{place.restarts}", store)
    agree(store, place, "arrival", timeout_s=timeout_s)
    return store


def agree(store: dist.Store, place: Launched, what: str, problem: str = "", *, timeout_s: float) -> None:
    """Wait until every rank has said whether it has a `problem`; InputError on all of them when one has, or is missing.

    The main rank's error has the problems themselves, the others' points to it.
    """
    try:
        store.set(f"{what}/{place.rank}", problem)
        if place.rank == 0:
            verdict = _verdict(store, place, what, timeout_s=timeout_s)
            store.set(f"{what}/verdict", verdict)
            if verdict:
                agree_is_read(store, place, what)
                raise InputError(verdict)
            return
        # A little longer than the main rank, whose word it is.
        store.wait([f"{what}/verdict"], timedelta(seconds=timeout_s + 5))
        verdict = store.get(f"{what}/verdict").decode()
        store.add(f"{what}/read", 1)
    except RuntimeError as error:
        raise InputError(f"rank 0 ended during {what}; its own line says why") from error
    if verdict:
        raise InputError(f"preflight failed at {what}; the line of rank 0 says why")


def agree_is_read(store: dist.Store, place: Launched, what: str) -> None:
    """Give the others a second to read the verdict, before the rank that keeps the store ends."""
    deadline = time.monotonic() + 1
    while store.add(f"{what}/read", 0) < place.world - 1 and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _verdict(store: dist.Store, place: Launched, what: str, *, timeout_s: float) -> str:
    deadline = time.monotonic() + timeout_s
    missing = list(range(place.world))
    while missing and time.monotonic() < deadline:
        missing = [rank for rank in missing if not store.check([f"{what}/{rank}"])]
        time.sleep(POLL_S if missing else 0)
    said = [store.get(f"{what}/{rank}").decode() for rank in range(place.world) if rank not in missing]
    problems = [text for text in said if text]
    if missing:
        names = ", ".join(_named(rank, place) for rank in missing)
        problems.append(f"{what}: no word from {names} within {timeout_s:g} s; the lines of these ranks say why")
    return "; ".join(problems)


def _named(rank: int, place: Launched) -> str:
    job = slurm_job()
    hosts = parse_hosts(job.nodes) if job is not None and job.nodes else []
    node = rank // place.local_world
    return f"rank {rank} ({hosts[node]})" if len(hosts) * place.local_world == place.world else f"rank {rank}"


def data_address() -> tuple[str, str]:
    """Interface and IPv4 address that gloo will listen at; InputError when the one that was chosen is not here."""
    addresses, chosen = interface_addresses(), chosen_interface()
    here = socket.gethostname()
    if chosen is None:
        address = gloo_default_address() or "127.0.0.1"
        return next((name for name, own in addresses.items() if own == address), "?"), address
    for name in chosen.split(","):
        if name in addresses:
            return name, addresses[name]
    known = ", ".join(f"{name} ({address})" for name, address in addresses.items())
    raise InputError(
        f"{here}: the interface {chosen!r} has no address here; there are {known}: choose with --interface"
    )


def reach_peers(store: dist.Store, place: Launched, *, timeout_s: float) -> None:
    """The first rank of each host connects to that of every other, where gloo will listen; InputError when one cannot.

    A group that is made over interfaces that do not see each other would hang instead.
    """
    problem = ""
    with socket.socket() as listener:
        try:
            _, address = data_address()
            listener.bind((address, 0))
            listener.listen(1024)
            leader = place.local_rank == 0
            store.set(f"listens/{place.rank}", f"{address}:{listener.getsockname()[1]}" if leader else "")
        except (InputError, OSError) as error:
            problem = f"{socket.gethostname()}: {error}" if isinstance(error, OSError) else str(error)
        agree(store, place, "listening", problem, timeout_s=timeout_s)
        if leader:
            problem = "; ".join(_unreachable(store, place))
        agree(store, place, "reaching the other hosts", problem, timeout_s=timeout_s + place.world * PEER_TIMEOUT_S)


def _unreachable(store: dist.Store, place: Launched) -> list[str]:
    problems = []
    for rank in range(place.world):
        target = store.get(f"listens/{rank}").decode()
        if rank == place.rank or not target:
            continue
        address, _, port = target.rpartition(":")
        try:
            reach(address, int(port), timeout_s=PEER_TIMEOUT_S)
        except InputError as error:
            problems.append(f"{error} (rank {place.rank} to rank {rank})")
    return problems
