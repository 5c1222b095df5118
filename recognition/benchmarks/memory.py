"""Peak memory of a process, read from the kernel (Linux) or from CUDA's allocator."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch

from recognition.errors import InputError

STATUS, CLEAR_REFS, MEMINFO = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
_RESET_PEAK = "5"  # proc(5)


def resident_bytes() -> int:
    """Resident memory of this process, files that are mapped included."""
    return _kib(STATUS, "VmRSS") * 1024


def peak_resident_bytes() -> int:
    """The most that was resident since `reset_peak`."""
    return _kib(STATUS, "VmHWM") * 1024


def available_bytes() -> int:
    """Memory that a new process may have without anything being swapped."""
    return _kib(MEMINFO, "MemAvailable") * 1024


def reset_peak() -> None:
    """Begin a new peak at what is resident now."""
    try:
        CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError as error:
        raise InputError(f"peak memory is read from {CLEAR_REFS}, which cannot be written: {error.strerror}") from None


def release_freed() -> None:
    """Hand memory that nobody uses back to the kernel, so that what follows cannot hide in it."""
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


class Peak:
    """The most bytes that a device or, on a CPU, this process held, above what it held when this was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()
        self.base = torch.cuda.memory_allocated(device) if device.type == "cuda" else resident_bytes()

    def restart(self) -> None:
        """Forget the peak, not the base: what is still held counts, what was freed does not."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            release_freed()
            reset_peak()

    def grown(self) -> int:
        """The peak since the last restart, above the base."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.base
        return peak_resident_bytes() - self.base


def _kib(path: Path, key: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise InputError(f"memory is read from {path}, which this system lacks: {error.strerror}") from None
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
