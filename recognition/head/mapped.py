"""A table in a memory-mapped file: as large as the disk, in memory only where it is being used."""

from __future__ import annotations

import errno
import fcntl
import math
import mmap
import os
import shutil
from pathlib import Path

import torch

from recognition.errors import InputError

SUFFIX = ".centers"
# Pages of this many bytes at most stay in the process; the kernel writes them out and may keep them in its cache.
RESIDENT_BYTES = 256 << 20


class MappedTable:
    """A tensor of `shape` in the file FOLDER/SHARD.centers, which is scratch: made anew, zeros at first.

    InputError when another run holds the file, or the disk has no room for all of it, which is claimed at once: a disk
    that fills up under a mapping would end the process with SIGBUS. `sparse` claims nothing. The file stays when the
    process ends; the next run in the folder starts it anew.
    """

    def __init__(
        self, folder: str | Path, shard: str, shape: tuple[int, ...], dtype: torch.dtype, *, sparse: bool = False
    ) -> None:
        self.path = Path(folder) / f"{shard}{SUFFIX}"
        size = math.prod(shape) * dtype.itemsize
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Stays open for the lock's sake until the process ends.
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._handle, 0)
            os.ftruncate(self._handle, size)
            if not sparse:
                self._reserve(size)
            self._map = mmap.mmap(self._handle, size)
        except BlockingIOError as error:
            raise InputError(f"centers: {self.path} is in use by another run; name another folder") from error
        except OSError as error:
            raise InputError(f"centers: cannot make {self.path}: {error.strerror}; name another place") from error
        # Rows are touched in no order: reading ahead would bring in what nobody asked for.
        self._map.madvise(mmap.MADV_RANDOM)
        self.tensor = torch.frombuffer(self._map, dtype=dtype).view(shape)
        self._touched_bytes = 0

    def _reserve(self, size: int) -> None:
        """Claim the whole file's blocks now, whoever else is claiming some of the same disk."""
        free = shutil.disk_usage(self.path.parent).free
        try:
            os.posix_fallocate(self._handle, 0, size)
        except OSError as error:
            self.path.unlink()
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(
                f"centers: {self.path} takes {size / 1e6:,.0f} MB, but its disk had {free / 1e6:,.0f} MB left; "
                f"name another disk"
            ) from None

    def touched(self, num_bytes: int) -> None:
        """Note that so many bytes were used; beyond a limit the process lets go of its pages (the file keeps them)."""
        self._touched_bytes += num_bytes
        if self._touched_bytes > RESIDENT_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched_bytes = 0
