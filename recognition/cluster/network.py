"""Which network interface ranks should talk over, and whether gloo would find it by itself.

Gloo listens at the address that this host's own name resolves to. On many systems that is a loopback address or the
bridge of a container engine, and a run on several hosts then hangs, or crawls over the slowest network there is.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from recognition.environment import chosen_interface, use_interface

SIOCGIFADDR = 0x8915
# Bridges and tunnels of container engines and virtual machines: never a way to another host.
INNER_NETWORKS = ("lo", "docker", "br-", "veth", "virbr", "cni", "flannel", "podman", "lxc", "kube")


@dataclass(frozen=True)
class Hint:
    """The interface that leads to the other hosts, None where it cannot be told, and what is wrong with gloo's own."""

    interface: str | None
    warning: str | None = None


def interface_hint(addresses: Mapping[str, str], *, source: str | None, default: str | None) -> Hint:
    """Pure: `addresses` by interface, the `source` address that packets to the others leave from, and gloo's `default`.

    There is a warning where gloo would listen at another address than the one that leads to the others.
    """
    named = {address: name for name, address in addresses.items()}
    best, own = named.get(source or ""), named.get(default or "")
    if default is not None and ipaddress.ip_address(default).is_loopback:
        own = own or "lo"
    if best is None or best == own:
        return Hint(best)
    if default is None:
        return Hint(
            best, f"this host's name does not resolve, so gloo would use loopback; the others are behind {best}"
        )
    if own is None:
        place = f"{default}, which is no address of this host"
    else:
        place = f"{own} ({default})" + (", which leads to no other host" if own.startswith(INNER_NETWORKS) else "")
    return Hint(best, f"by this host's name gloo would use {place}; the others are behind {best} ({source})")


def interface_addresses() -> dict[str, str]:
    """IPv4 address of every interface of this host that has one."""
    addresses = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            addresses[name] = socket.inet_ntoa(answer[20:24])
    return addresses


def source_address(host: str, port: int = 9) -> str | None:
    """IPv4 address that this host's packets to `host` leave from, as its routes say; None without a name or a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))  # of a datagram socket: nothing is sent
        except OSError:
            return None
        return probe.getsockname()[0]


def gloo_default_address() -> str | None:
    """IPv4 address that gloo would listen at: the first of this host's name; None when the name does not resolve."""
    try:
        return socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return None


def choose_interface(host: str) -> Hint:
    """Have gloo and NCCL use the interface that leads to `host`, where gloo's own choice would lead elsewhere.

    The user's choice stands, and so does gloo's where `host` is this machine. The hint says what was chosen and why.
    """
    source = source_address(host)
    if chosen_interface() is not None or source is None or ipaddress.ip_address(source).is_loopback:
        return Hint(chosen_interface())
    hint = interface_hint(interface_addresses(), source=source, default=gloo_default_address())
    if hint.warning is not None and hint.interface is not None:
        use_interface(hint.interface)
    return hint
