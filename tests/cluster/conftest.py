"""No test of this folder sees what launched the tests themselves."""

import os

import pytest

PREFIXES = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "TORCHELASTIC_")
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@pytest.fixture(autouse=True)
def started_alone(monkeypatch):
    for name in list(os.environ):
        if name.startswith(PREFIXES) or name in (*NAMES, *INTERFACES):
            monkeypatch.delenv(name)
