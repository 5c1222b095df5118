"""Can this host reach that one? Each rank asks alone, before any group exists, and says why not."""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from dataclasses import dataclass

from recognition.cluster.network import source_address
from recognition.errors import InputError

ATTEMPT_S, PAUSE_S = 5.0, 0.2


@dataclass(frozen=True)
class Reached:
    """A connection that was made: the address it went to, the one it left from, and the seconds it took."""

    address: str
    source: str
    seconds: float


def reach(host: str, port: int, *, timeout_s: float) -> Reached:
    """Connect to `host`:`port`, again and again for `timeout_s`; InputError that names this host and the cause."""
    here = socket.gethostname()
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise InputError(
            f"{here}: the name {host!r} does not resolve ({error.strerror}); use an address, or have it in /etc/hosts"
        ) from error
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.monotonic()
        try:
            with socket.create_connection((address, port), timeout=max(0.1, min(ATTEMPT_S, deadline - began))) as made:
                return Reached(address, made.getsockname()[0], time.monotonic() - began)
        except OSError as error:
            if time.monotonic() + PAUSE_S >= deadline:
                raise InputError(f"{here} cannot reach {_target(host, address, port)}: {_cause(error)}") from error
        time.sleep(PAUSE_S)


def _target(host: str, address: str, port: int) -> str:
    return f"{host}:{port}" if host == address else f"{host} ({address}:{port})"


def _cause(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused, nothing listens there; is rank 0 running on that host, and is this its address?"
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return "no answer; look for a firewall between the two, or an address of the wrong network (--interface)"
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return f"{error.strerror}; is the link up (`ip -br addr`), and is it the right network?"
    return str(error.strerror or error)


def misleading_address(host: str, rank: int, local_world: int) -> str | None:
    """A sentence when `host` means this very machine on a rank of another one, as 127.0.1.1 in /etc/hosts does."""
    source = source_address(host)
    if rank < local_world or source is None or not ipaddress.ip_address(source).is_loopback:
        return None
    return (
        f"{socket.gethostname()}: the name {host!r} means this machine itself here ({source}), but rank {rank} is "
        f"not on the first host; use an address, or correct /etc/hosts"
    )
