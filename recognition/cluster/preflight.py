"""Is this set of machines fit for a run? What each rank finds out, what of it should stop a run, and the table."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from recognition.cluster.meeting import data_address
from recognition.collectives import all_gather, all_reduce_max, gather_text
from recognition.runtime import Runtime

PACKAGES_DIR = Path(__file__).resolve().parents[2]
# Clocks further apart than this make logs of several hosts unreadable, and break tokens of file systems and queues.
MAX_SKEW_S = 1.0
MIN_FREE_BYTES = 10 * 1024**3
# A file that another host has just made may show late, as NFS keeps folders for some seconds.
SHARING_S = 10.0
WARM_UPS, ROUNDS = 2, 7


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rank says of its host; `skew_s` is its clock's advance on that of rank 0."""

    rank: int
    host: str
    interface: str
    address: str
    skew_s: float
    torch: str
    code: str
    shared: bool
    free_bytes: int


@dataclass(frozen=True)
class Rates:
    """Bytes a second of an all-reduce (bytes of the tensor over time) and seconds of a broadcast of one number."""

    all_reduce_bytes_s: float
    broadcast_s: float


def find_out(folder: Path, runtime: Runtime) -> list[Finding]:
    """What all ranks find, by rank; `folder` is where the run will write, made if it is not there."""
    shared = is_shared(folder, runtime)
    interface, address = data_address()
    own = Finding(
        rank=runtime.rank,
        host=socket.gethostname(),
        interface=interface,
        address=address,
        skew_s=clock_skew_s(runtime),
        torch=torch.__version__,
        code=code_hash(PACKAGES_DIR),
        shared=shared,
        free_bytes=shutil.disk_usage(folder).free if folder.is_dir() else 0,
    )
    return [Finding(**json.loads(text)) for text in gather_text(json.dumps(asdict(own)), runtime)]


def is_shared(folder: Path, runtime: Runtime) -> bool:
    """True where this rank sees in `folder` what rank 0 writes there."""
    if runtime.is_main:
        folder.mkdir(parents=True, exist_ok=True)
    token = gather_text(uuid.uuid4().hex, runtime)[0]
    path = folder / f".preflight-{token}"
    if runtime.is_main:
        path.write_text(token)
    runtime.barrier()
    deadline = time.monotonic() + SHARING_S
    try:
        while not (seen := _text(path) == token) and time.monotonic() < deadline:
            time.sleep(0.1)
        runtime.barrier()
    finally:
        if runtime.is_main:
            path.unlink(missing_ok=True)
    return seen


def clock_skew_s(runtime: Runtime) -> float:
    """Seconds by which this rank's clock is ahead of rank 0's, to within the time of a barrier."""
    apart = []
    for _ in range(ROUNDS):
        runtime.barrier()
        now = torch.tensor([time.time()], dtype=torch.float64, device=runtime.device)
        clocks = all_gather(now, runtime).tolist()
        apart.append(clocks[runtime.rank] - clocks[0])
    return statistics.median(apart)


def code_hash(folder: Path) -> str:
    """Eight hex digits of SHA-256 over the Python files of the packages: shows edits that no commit has, too."""
    digest = hashlib.sha256()
    for package in ("recognition", "launch", "configs"):
        for path in sorted((folder / package).rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:8]


def measure(runtime: Runtime, *, size_bytes: int) -> Rates:
    """Medians of some rounds, after warm-up, as the slowest rank sees them."""
    tensor = torch.ones(max(1, size_bytes // 4), device=runtime.device)
    number = torch.zeros(1, device=runtime.device)
    reduce_s = _slowest(lambda: dist.all_reduce(tensor, op=dist.ReduceOp.MAX), runtime)

    def there_and_back() -> None:
        dist.broadcast(number, src=0)
        dist.broadcast(number, src=runtime.world - 1)

    return Rates(tensor.numel() * 4 / reduce_s, _slowest(there_and_back, runtime) / 2)


def problems(findings: Sequence[Finding]) -> list[str]:
    """Sentences on what should be mended before a run; none when all is well. Pure."""
    first = findings[0]
    found = []
    for name, what in (("torch", "install one torch"), ("code", "install one arcscale")):
        values = {getattr(finding, name) for finding in findings}
        if len(values) > 1:
            found.append(f"{name} differs: {_by_host(findings, name)}; {what} on all hosts")
    for finding in one_a_host(findings):
        if abs(finding.skew_s) > MAX_SKEW_S:
            found.append(
                f"the clock of {finding.host} is {finding.skew_s:+.1f} s off that of {first.host}; "
                f"start a time service (chronyd) on both"
            )
        if not finding.shared:
            found.append(
                f"{finding.host} does not see what {first.host} writes into the folder; "
                f"put the run on a file system that all hosts share"
            )
    if first.free_bytes < MIN_FREE_BYTES:
        found.append(
            f"{first.free_bytes / 1024**3:.1f} GiB are free for the run, and checkpoints want "
            f"{MIN_FREE_BYTES // 1024**3} at least; make room"
        )
    return found


def table(findings: Sequence[Finding], rates: Rates, *, size_bytes: int) -> str:
    """One line a rank, and the rates. Pure."""
    head = ("rank", "host", "interface", "address", "clock", "torch", "code", "folder", "free")
    rows = [
        (
            str(finding.rank),
            finding.host,
            finding.interface,
            finding.address,
            f"{finding.skew_s:+.3f} s",
            finding.torch,
            finding.code,
            "shared" if finding.shared else "APART",
            f"{finding.free_bytes / 1024**3:.0f} GiB",
        )
        for finding in findings
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (head, *rows)]
    lines.append(
        f"all-reduce of {size_bytes / 1024**2:g} MiB: {rates.all_reduce_bytes_s / 1e9:.3f} GB/s;  "
        f"broadcast of a number: {rates.broadcast_s * 1e3:.3f} ms"
    )
    return "\n".join(lines)


def one_a_host(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The first rank of each host."""
    seen = set()
    for finding in findings:
        if (finding.host, finding.address) not in seen:
            seen.add((finding.host, finding.address))
            yield finding


def _slowest(collective: Callable[[], None], runtime: Runtime) -> float:
    """Median over rounds of the seconds that the slowest rank needed."""
    taken = []
    for _ in range(WARM_UPS + ROUNDS):
        runtime.barrier()
        began = time.perf_counter()
        collective()
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)
        taken.append(time.perf_counter() - began)
    return all_reduce_max(torch.tensor(taken[WARM_UPS:], device=runtime.device), runtime).median().item()


def _by_host(findings: Sequence[Finding], name: str) -> str:
    return ", ".join(f"{finding.host} has {getattr(finding, name)}" for finding in one_a_host(findings))


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
