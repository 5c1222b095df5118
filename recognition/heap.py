"""Keep freed CPU memory in the process: a training step frees and asks for the same gigabytes again and again."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from its heap and never to shrink it; False where there is no glibc.

    By default every tensor above 32 MB is mapped and unmapped anew: the kernel zeroes its pages one fault at a time,
    which costs a CPU training step a fifth to a third. Resident memory then stays at its highest mark.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return mallopt(M_MMAP_MAX, 0) == 1 and mallopt(M_TRIM_THRESHOLD, -1) == 1
