"""What training machines offer: memory, arithmetic, bandwidth and links, from data sheets.

Memory is what nvidia-smi shows. Rates are dense peaks; `SUSTAINED_*` say which share of them large operations reach
(H200: 769 to 798 of 990 TFLOP/s in an 8192^3 bfloat16 product, 4.3 of 4.8 TB/s in a copy).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from difflib import get_close_matches

from recognition.errors import InputError

MIB = 2**20
SUSTAINED_FLOPS = 0.78
SUSTAINED_BANDWIDTH = 0.9
# CUDA context, NCCL's buffers, cuDNN's and cuBLAS's workspaces; not tensors, and not seen by torch's statistics.
CONTEXT_BYTES = 1_200_000_000
# Interpreter and torch's libraries of a process that trains on a CPU.
PROCESS_BYTES = 350_000_000


@dataclass(frozen=True)
class Machine:
    """One accelerator (or the share of a CPU that a rank has): bytes, FLOP/s, bytes/s."""

    name: str
    memory_bytes: int
    bandwidth: float
    fp32: float
    tf32: float
    half: float
    link: str
    nvlink: float = 0.0
    has_bf16: bool = True

    @property
    def is_gpu(self) -> bool:
        """Whether it is an accelerator with memory of its own."""
        return self.name != "cpu"

    @property
    def context_bytes(self) -> int:
        """Memory that a process takes before it holds a tensor."""
        return CONTEXT_BYTES if self.is_gpu else PROCESS_BYTES

    def flops(self, precision: str) -> float:
        """Sustained FLOP/s of products in "fp32", "tf32", "bf16" or "fp16"."""
        peak = {"fp32": self.fp32, "tf32": self.tf32}.get(precision, self.half)
        if precision == "bf16" and not self.has_bf16:
            peak = self.fp32
        return peak * SUSTAINED_FLOPS


def _gpu(
    name: str, mib: int, tb_s: float, fp32: float, tf32: float, half: float, *, nvlink: float = 0.0, bf16: bool = True
) -> Machine:
    tera = 1e12
    link = "nvlink" if nvlink else "pcie"
    rates = (tb_s * tera, fp32 * tera, tf32 * tera, half * tera)
    return Machine(name, mib * MIB, *rates, link, nvlink * 1e9, bf16)


# NVLink: bus bandwidth of collectives among 8 GPUs in GB/s (H100 and H200 measured with nccl-tests, older ones scaled
# by the links' peak).
_GPUS = (
    _gpu("h200", 143_771, 4.8, 67, 494, 990, nvlink=370),
    _gpu("h100", 81_559, 3.35, 67, 494, 990, nvlink=370),
    _gpu("a100-80", 81_920, 2.04, 19.5, 156, 312, nvlink=230),
    _gpu("a100-40", 40_960, 1.56, 19.5, 156, 312, nvlink=230),
    _gpu("v100-32", 32_510, 0.9, 15.7, 15.7, 125, nvlink=120, bf16=False),
    _gpu("v100-16", 16_160, 0.9, 15.7, 15.7, 125, nvlink=120, bf16=False),
    _gpu("l40s", 46_068, 0.864, 91.6, 183, 362),
    _gpu("rtx4090", 24_564, 1.01, 82.6, 82.6, 165),
    _gpu("rtx3090", 24_576, 0.936, 35.6, 35.6, 71),
    _gpu("l4", 23_034, 0.3, 30.3, 60, 121),
    _gpu("t4", 15_360, 0.32, 8.1, 8.1, 65, bf16=False),
)
# One core of a Zen 4 with AVX512_BF16, measured: 85 GFLOP/s fp32, 180 bf16, 32 GB/s.
_CORE_FP32, _CORE_BF16, _CORE_BANDWIDTH = 85e9, 180e9, 32e9
_ALIASES = {"a100": "a100-80", "v100": "v100-32", "4090": "rtx4090", "3090": "rtx3090"}

# Bytes/s that one rank gets out of a link in collectives: PCIe 4 x16 without peer access; InfiniBand with one 400 Gb
# adapter per GPU; Ethernet of 25 Gb shared by the 8 GPUs of a node; memory of one machine under gloo.
LINKS = {"pcie": 12e9, "infiniband": 50e9, "ethernet": 0.39e9, "shared": 2e9}
# Seconds that a collective takes however small it is.
LATENCY = {"nvlink": 2e-5, "pcie": 3e-5, "infiniband": 4e-5, "ethernet": 2e-4, "shared": 2e-4}
HOST_BYTES_S = 20e9  # between a GPU and the memory of its host
DISK_BYTES_S = 2e9  # random 4 KB pages on an NVMe disk, all ranks of a machine together


def machine_names() -> list[str]:
    """Every name that `find_machine` takes, but for short forms."""
    return [*(gpu.name for gpu in _GPUS), "cpu"]


def find_machine(name: str, *, memory_gb: float | None = None, ranks: int = 1) -> Machine:
    """The machine called `name`, with another memory size where given; InputError names the known ones.

    "cpu" is this computer, shared among the ranks.
    """
    key = name.lower().replace("_", "-").replace(" ", "")
    key = _ALIASES.get(key, key)
    known = {gpu.name: gpu for gpu in _GPUS}
    if key == "cpu":
        machine = _this_computer(ranks)
    elif key in known:
        machine = known[key]
    else:
        near = get_close_matches(key, machine_names(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"gpu={name!r} is not known; {hint}Known: {', '.join(machine_names())}")
    if memory_gb is not None:
        if not 0 < memory_gb < math.inf:
            raise InputError(f"memory of {memory_gb} GB must be a number above 0")
        machine = replace(machine, memory_bytes=round(memory_gb * 1e9))
    return machine


def link_bandwidth(machine: Machine, link: str) -> float:
    """Bytes/s of a rank over `link`; InputError for NVLink where the machine has none."""
    if link != "nvlink":
        return LINKS[link]
    if not machine.nvlink:
        raise InputError(f"{machine.name} has no NVLink; choose one of {', '.join(LINKS)}")
    return machine.nvlink


def pick_link(machine: Machine, wanted: str | None, *, ranks: int, ranks_a_node: int) -> str:
    """The slowest link between `ranks`: as wanted, else InfiniBand where they fill more than a node.

    InputError for a link that the machine does not have.
    """
    usual = "infiniband" if machine.is_gpu and ranks > ranks_a_node else machine.link
    link_bandwidth(machine, wanted or usual)
    return wanted or usual


def _this_computer(ranks: int) -> Machine:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = max(1.0, (os.cpu_count() or 1) / ranks)
    fp32, bf16 = cores * _CORE_FP32 / SUSTAINED_FLOPS, cores * _CORE_BF16 / SUSTAINED_FLOPS
    bandwidth = cores * _CORE_BANDWIDTH / SUSTAINED_BANDWIDTH
    return Machine("cpu", memory // ranks, bandwidth, fp32, fp32, bf16, "shared")
