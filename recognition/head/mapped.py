"""A table in a memory-mapped file: as large as the disk, in memory only where it is being used."""

from __future__ import annotations

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
_RESIDENT_BYTES = 256 << 20


class MappedTable:
    """A tensor of `shape` in the file FOLDER/SHARD.centers, which is scratch: made anew, zeros at first, and sparse.

    InputError when another run holds the file, or the disk has no room for all of it (`sparse` leaves that check out:
    a disk that fills up under a mapping ends the process with SIGBUS).
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
            free = shutil.disk_usage(self.path.parent).free
            if free < size and not sparse:
                raise InputError(
                    f"centers: {self.path} grows to {size / 1e9:.1f} GB, but its disk has {free / 1e9:.1f} GB left; "
                    f"name another disk"
                )
            os.ftruncate(self._handle, size)
            self._map = mmap.mmap(self._handle, size)
        except BlockingIOError as error:
            raise InputError(f"centers: {self.path} is in use by another run; name another file") from error
        except OSError as error:
            raise InputError(f"centers: cannot make {self.path}: {error.strerror}; name another place") from error
        # Rows are touched in no order: reading ahead would bring in what nobody asked for.
        self._map.madvise(mmap.MADV_RANDOM)
        self.tensor = torch.frombuffer(self._map, dtype=dtype).view(shape)
        self._touched_bytes = 0

    def touched(self, num_bytes: int) -> None:
        """Note that so many bytes were used; beyond a limit the process lets go of its pages (the file keeps them)."""
        self._touched_bytes += num_bytes
        if self._touched_bytes > _RESIDENT_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched_bytes = 0

    def remove(self) -> None:
        """Delete the file; the tensor stays usable."""
        self.path.unlink(missing_ok=True)
        os.close(self._handle)
