"""Where the ranks of a run meet, when torchrun says it and when only SLURM is there to tell."""

from __future__ import annotations

from recognition.cluster.hosts import parse_hosts
from recognition.environment import slurm_job, store_address
from recognition.errors import InputError

# Below the ports that Linux hands out to clients, which may be taken.
FIRST_PORT, NUM_PORTS = 15000, 15000


def rendezvous_address() -> tuple[str, int]:
    """Host and port of the store: the launcher's, else the first host of the SLURM step and a port of its own.

    InputError when nothing says where ranks meet.
    """
    given, job = store_address(), slurm_job()
    if given is not None:
        return given
    if job is None or job.step is None:
        raise InputError("several ranks, but MASTER_ADDR and MASTER_PORT are not set; start them by torchrun or srun")
    return parse_hosts(job.nodes)[0], job_port(job.number, job.step)


def rendezvous_url() -> str:
    """What `torch.distributed.rendezvous` takes: env:// where the launcher said where to meet, else the address."""
    if store_address() is not None:
        return "env://"
    host, port = rendezvous_address()
    return f"tcp://{host}:{port}"


def job_port(number: int, step: int = 0) -> int:
    """A port that jobs on one node, and up to 16 steps of one job, do not share; launch/slurm/ computes the same."""
    return FIRST_PORT + (16 * number + step % 16) % NUM_PORTS
