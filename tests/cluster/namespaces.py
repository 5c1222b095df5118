"""Two hosts on one machine: network namespaces with a name, an address and a cable of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

# `ip netns exec` shows a namespace the files of this folder in place of those in /etc.
FILES = Path("/etc/netns")


def ip(*words: str) -> None:
    """`ip WORDS`; CalledProcessError when it fails."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Host:
    """A namespace: `name` is what its processes take for the name of their machine."""

    name: str
    namespace: str
    address: str

    def knows(self, lines: str) -> None:
        """Make `lines` the /etc/hosts of this host, besides localhost."""
        folder = FILES / self.namespace
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{lines}\n")

    def start(self, *command: object, log: Path, **variables: object) -> subprocess.Popen:
        """A process on this host; output goes into `log`."""
        inner = ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c"]
        inner += ['hostname "$0"; exec "$@"', self.name, *map(str, command)]
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "GLOO", "NCCL"))}
        plain |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | {key: str(v) for key, v in variables.items()}
        with log.open("w") as file:
            return subprocess.Popen(inner, stdout=file, stderr=subprocess.STDOUT, env=plain, cwd=log.parent)

    def set_link(self, state: str) -> None:
        """Set the cable `up` or `down` on this side."""
        ip("-n", self.namespace, "link", "set", "eth0", state)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Hosts `first` and `second` at 10.77.0.1 and .2, which know each other by name; skips where none can be."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("network namespaces need root and the programs ip and unshare")
    tag = f"arc{os.getpid()}"
    hosts = tuple(Host(name, f"{tag}{name}", f"10.77.0.{n}") for n, name in enumerate(("first", "second"), start=1))
    had_files = FILES.exists()
    try:
        try:
            for host in hosts:
                ip("netns", "add", host.namespace)
            ends = [f"{tag}{n}"[:15] for n in (1, 2)]
            ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
            for host, end in zip(hosts, ends):
                ip("link", "set", end, "netns", host.namespace)
                ip("-n", host.namespace, "link", "set", end, "name", "eth0")
                ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
                ip("-n", host.namespace, "link", "set", "lo", "up")
                host.set_link("up")
                host.knows("".join(f"{other.address} {other.name}\n" for other in hosts))
        except (subprocess.CalledProcessError, OSError) as error:
            pytest.skip(f"this machine makes no network namespaces: {getattr(error, 'stderr', error)}")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)
            shutil.rmtree(FILES / host.namespace, ignore_errors=True)
        if not had_files and FILES.exists() and not any(FILES.iterdir()):
            FILES.rmdir()


def ends(processes: list[subprocess.Popen], logs: list[Path], *, timeout_s: float) -> list[tuple[int | None, str]]:
    """(exit code, output) of each; those that are still there after `timeout_s` are killed, their code is None."""
    deadline = time.monotonic() + timeout_s
    codes: list[int | None] = []
    for process in processes:
        try:
            codes.append(process.wait(max(0.1, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            codes.append(None)
    for process in processes:
        process.kill()
        process.wait()
    return [(code, log.read_text()) for code, log in zip(codes, logs)]
