"""The variables that torchrun sets, read here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Launched:
    """This process among those that a launcher started; the defaults are those of a process started alone."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    restarts: int = 0

    @property
    def label(self) -> str:
        """`[rank 3] ` where there are several, to begin a message with."""
        return f"[rank {self.rank}] " if self.world > 1 else ""


def launched() -> Launched:
    """What the launcher says, defaults where it says nothing."""

    def number(name: str, default: int) -> int:
        return int(os.environ.get(name, default))

    world = number("WORLD_SIZE", 1)
    return Launched(
        rank=number("RANK", 0),
        world=world,
        local_rank=number("LOCAL_RANK", 0),
        local_world=number("LOCAL_WORLD_SIZE", world),
        restarts=number("TORCHELASTIC_RESTART_COUNT", 0),
    )


def keep_flight_record() -> None:
    """Let NCCL remember its last collectives, and write them to a file when one times out; what the user set stays."""
    os.environ.setdefault("TORCH_FR_BUFFER_SIZE", "2000")
    os.environ.setdefault("TORCH_NCCL_DUMP_ON_TIMEOUT", "1")


def launcher_pid() -> int | None:
    """The process id of the torchrun that started this process; None where the parent is anything else."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    parent = os.getppid()
    try:
        words = Path(f"/proc/{parent}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    started_by = any(word == "torch.distributed.run" or Path(word).name == "torchrun" for word in words)
    return parent if started_by else None
