"""Single files of a checkpoint: hashed while they are written, and read only where they are what they seem."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from recognition.atomic import naming

# What is copied, hashed and written at a time.
BLOCK_BYTES = 8 << 20


class Written(NamedTuple):
    """A file as it lies on the disk: its plain name, its size in bytes and the SHA-256 of its content."""

    name: str
    size: int
    sha256: str


class HashedFile:
    """A new file that knows the size and SHA-256 of what was written to it so far."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._digest, self._size = hashlib.sha256(), 0

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`; OSError when the disk does not take it."""
        self._digest.update(data)
        left = memoryview(data)
        self._size += len(left)
        while left:
            left = left[self._file.write(left) :]

    @property
    def written(self) -> Written:
        """Name, size in bytes and SHA-256 of the file so far."""
        return Written(self._path.name, self._size, self._digest.hexdigest())


@contextmanager
def hashed_file(path: Path) -> Iterator[HashedFile]:
    """Yield a new file to write to, and sync it to the disk at the end; an OSError names `path`."""
    # Unbuffered: a full disk is then met in `write`, and not once more when the file is closed.
    with naming(path), open(path, "xb", buffering=0) as file:
        yield HashedFile(path, file)
        os.fsync(file.fileno())


def write_bytes(path: Path, data: bytes) -> Written:
    """Write a new file and sync it to the disk; OSError with `path`."""
    with hashed_file(path) as file:
        file.write(data)
    return file.written


@contextmanager
def plain_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; OSError for anything else: a symlink is not followed, a pipe not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # The kernel's words for a link that is not followed are "Too many levels of symbolic links".
        text = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise OSError(error.errno, text, str(path)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with open(handle, "rb", buffering=0) as file, naming(path):
        yield file


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file's content; OSError with `path`."""
    digest, room = hashlib.sha256(), bytearray(BLOCK_BYTES)
    with plain_file(path) as file:
        while count := file.readinto(room):
            digest.update(memoryview(room)[:count])
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk; OSError with `folder`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with naming(folder):
            os.fsync(handle)
    finally:
        os.close(handle)
