"""The variables that torchrun and SLURM set, read here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from recognition.cluster.hosts import parse_task_counts

# From here on SLURM numbers its own steps: the batch script, the shell of `salloc`, and the like.
FIRST_SPECIAL_STEP = 0xFFFFFFF0


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


@dataclass(frozen=True)
class SlurmJob:
    """The SLURM job that this process is part of; `step` is the number of its `srun` step, None outside of one."""

    number: int
    name: str
    nodes: str
    step: int | None = None


def launched() -> Launched:
    """What torchrun says, else what `srun` says of its tasks, else a process on its own."""
    if "WORLD_SIZE" not in os.environ and "RANK" not in os.environ and _number("SLURM_NTASKS", 1) > 1 and _is_task():
        return _slurm_task()
    world = _number("WORLD_SIZE", 1)
    return Launched(
        rank=_number("RANK", 0),
        world=world,
        local_rank=_number("LOCAL_RANK", 0),
        local_world=_number("LOCAL_WORLD_SIZE", world),
        restarts=_number("TORCHELASTIC_RESTART_COUNT", 0),
    )


def was_restarted() -> bool:
    """Whether torchrun or SLURM started this job again by itself."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0) > 0 or _number("SLURM_RESTART_COUNT", 0) > 0


def slurm_job() -> SlurmJob | None:
    """The job around this process; `name` is what `scontrol` calls it, 7_3 for the third task of array 7."""
    number = os.environ.get("SLURM_JOB_ID")
    if not number:
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return SlurmJob(
        number=int(number),
        name=f"{array}_{task}" if array and task else number,
        nodes=os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST", ""),
        step=_number("SLURM_STEP_ID", 0) if _is_task() else None,
    )


def store_address() -> tuple[str, int] | None:
    """Host and port at which the launcher says that ranks meet; None where it says nothing."""
    if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
        return None
    return os.environ["MASTER_ADDR"], _number("MASTER_PORT", 0)


def agent_keeps_store() -> bool:
    """True where the torchrun agent listens at `store_address()`, so that rank 0 must not."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def chosen_interface() -> str | None:
    """The network interface that gloo was told to use, if it was told."""
    return os.environ.get("GLOO_SOCKET_IFNAME") or None


def use_interface(name: str) -> None:
    """Have gloo and NCCL of this process talk over the interface `name`, unless the user chose theirs."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    os.environ.setdefault("NCCL_SOCKET_IFNAME", name)


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


def _is_task() -> bool:
    # A terminal (`srun --pty bash`) is a step, too, but what is started in it has no peers.
    step = os.environ.get("SLURM_STEP_ID")
    return bool(step) and int(step) < FIRST_SPECIAL_STEP and "SLURM_PTY_PORT" not in os.environ


def _slurm_task() -> Launched:
    world = _number("SLURM_NTASKS", 1)
    counts = os.environ.get("SLURM_STEP_TASKS_PER_NODE") or os.environ.get("SLURM_TASKS_PER_NODE")
    if counts:
        local_world = parse_task_counts(counts)[_number("SLURM_NODEID", 0)]
    else:
        local_world = _number("SLURM_NTASKS_PER_NODE", world)
    return Launched(
        rank=_number("SLURM_PROCID", 0),
        world=world,
        local_rank=_number("SLURM_LOCALID", 0),
        local_world=local_world,
        restarts=_number("SLURM_RESTART_COUNT", 0),
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
