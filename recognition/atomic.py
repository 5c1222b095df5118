"""Files that are whole or absent: written aside, synced to disk, then renamed over the old one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recognition.errors import InputError


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add `path` to an OSError that names no file: "No space left on device" alone does not say where."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(".partial"):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def hold(handle: int, path: Path) -> None:
    """Keep the file or folder that is open as `handle` for this process until it is closed.

    InputError while another one has it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{path}: another process writes here now; wait for it, or stop it") from error
    except OSError:  # some network file systems have no locks
        pass


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it becomes `path`, on any error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the process id: containers that share a folder share those too.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with naming(path):
            partial.touch()
            mode = partial.stat().st_mode
            yield partial
            os.chmod(partial, mode)  # safetensors makes files that their owner alone can read
            with open(partial, "rb") as written:
                os.fsync(written.fileno())
            os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):  # a disk that cannot be written says so of files that are not there, too
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; bytes of file names that are no UTF-8 survive the round trip."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape")
