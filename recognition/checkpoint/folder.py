"""The folder of a run's checkpoints: their names, whom it belongs to, and changes that a kill cannot leave half done.

step-00000012           a whole checkpoint; nothing else ever has such a name
step-00000012.new-XXXX  one that is being written
step-00000012.old-XXXX  one that a newer of the same step is about to replace
step-00000012.out-XXXX  one that is being removed
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import NamedTuple

from recognition.checkpoint.files import sync_folder
from recognition.errors import InputError

LOCK = ".lock"
WHOLE = re.compile(r"step-([0-9]{8,12})")
ASIDE = re.compile(r"(step-[0-9]{8,12})\.(new|old|out)-[0-9a-f]{8}")
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class Listed(NamedTuple):
    """A checkpoint by its name alone; nothing of it was read."""

    step: int
    path: Path


def step_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def aside_path(path: Path, kind: str) -> Path:
    """A name beside `path` that no other process uses; `kind` is new, old or out."""
    return path.with_name(f"{path.name}.{kind}-{uuid.uuid4().hex[:8]}")


def listed(folder: Path) -> list[Listed]:
    """The checkpoints in a folder by step, unverified; none without a folder. A symbolic link is no checkpoint."""
    found = []
    for name in _folders_in(folder):
        match = WHOLE.fullmatch(name)
        if match and step_path(folder, int(match[1])).name == name:
            found.append(Listed(int(match[1]), folder / name))
    return sorted(found)


def lock_folder(folder: Path) -> int | None:
    """Make the folder this process's own until the handle is closed; None where the file system knows no locks.

    InputError when another process has it.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(f"{folder} is in use by another run; give this one another output folder") from error
    except OSError as error:
        os.close(handle)
        if error.errno not in NO_LOCKS:
            raise
        return None


def tidy(folder: Path) -> None:
    """Remove what dead runs left aside, and put back what one had not finished replacing; only for the lock's owner."""
    for name in _folders_in(folder):
        match = ASIDE.fullmatch(name)
        if match is None:
            continue
        if match[2] == "old" and not (folder / match[1]).exists():
            os.rename(folder / name, folder / match[1])
        else:
            shutil.rmtree(folder / name, ignore_errors=True)


def commit(new: Path, final: Path) -> None:
    """Give a finished folder its final name; one that is there stays whole until then, and is removed. OSError."""
    sync_folder(new)
    old = aside_path(final, "old")
    with contextlib.suppress(FileNotFoundError):
        os.rename(final, old)
    try:
        os.rename(new, final)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.rename(old, final)
        raise
    sync_folder(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a checkpoint; a kill leaves it whole or under a name that is no checkpoint's. OSError."""
    out = aside_path(path, "out")
    os.rename(path, out)
    sync_folder(path.parent)
    shutil.rmtree(out)


def _folders_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
