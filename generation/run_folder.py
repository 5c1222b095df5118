"""The folder of a run whose checkpoints are .pth files: which is the newest, who holds it, what a full disk costs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from generation.precision import AUTO
from recognition.atomic import hold
from recognition.collectives import gather_text
from recognition.environment import was_restarted
from recognition.errors import InputError, Stopped
from recognition.log import LOG, start_log
from recognition.runtime import Runtime
from recognition.training.preemption import StopRequest
from recognition.training.run_directory import set_aside
from recognition.weights import read_torch_file

BEST, LAST, FINAL = "best_model.pth", "last.pth", "final_model.pth"
NUMBERED = re.compile(r"checkpoint_epoch_(\d+)\.pth")


def newest(folder: Path) -> Path | None:
    """The checkpoint of a run's folder that is furthest, None where there is none."""
    if (folder / LAST).is_file():
        return folder / LAST
    if found := numbered(folder):
        return found[-1]
    return folder / BEST if (folder / BEST).is_file() else None


def numbered(folder: Path) -> list[Path]:
    """The checkpoints that are kept of epochs, in their order."""
    by_epoch = {int(match[1]): path for path in folder.glob("*.pth") if (match := NUMBERED.fullmatch(path.name))}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def newest_sound(folder: Path) -> Path | None:
    """The newest checkpoint of a folder that can be read, with a word on those that cannot; the newest if none can."""
    last = [folder / LAST] if (folder / LAST).is_file() else []
    best = [folder / BEST] if (folder / BEST).is_file() else []
    candidates = [*last, *reversed(numbered(folder)), *best]
    for path in candidates:
        try:
            read_torch_file(path)
        except InputError as error:
            LOG.warning("note: %s; the checkpoint before it is taken", error)
        else:
            return path
    return candidates[0] if candidates else None


def checkpoint_at(path: Path, whose: str) -> Path:
    """A checkpoint file, or the newest one in a folder; InputError where there is none, `whose` names the command."""
    if path.is_dir():
        found = newest(path)
        if found is None:
            raise InputError(f"{path} holds no checkpoint; name a .pth of {whose}")
        return found
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")
    return path


def checkpoint_meant(save_dir: Path, resume: str | None, runtime: Runtime) -> tuple[Path | None, bool]:
    """The checkpoint that `resume` means, and whether the job was started again by itself; collective.

    The main rank's view counts: a shared file system may show the others something older.
    """
    wants_newest = runtime.is_main and (resume == AUTO or was_restarted())
    found = gather_text(str((newest_sound(save_dir) if wants_newest else None) or ""), runtime)[0]
    starts_again = was_restarted() and bool(found)
    if starts_again or resume == AUTO:
        return (Path(found) if found else None), starts_again
    return (None if resume is None else Path(resume)), False


@contextmanager
def holding_folder(
    save_dir: Path, log_dir: Path, runtime: Runtime, *, goes_on: bool, begins_with: Path | None
) -> Iterator[None]:
    """Make `save_dir` ready and keep it for this run; an earlier run that is not gone on with is set aside.

    `goes_on`: exactly from the checkpoint `begins_with`. InputError while another process has the folder.
    """
    if not runtime.is_main:
        runtime.wait_for_all("the start of the run")
        yield
        return
    inside = begins_with is not None and begins_with.parent.resolve() == save_dir.resolve()
    moved = []
    if save_dir.exists() and not save_dir.is_dir():
        raise InputError(f"--save_dir {save_dir} is a file; name a folder")
    save_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as kept:
        # A run that lives is not moved: first it is found out whether one does.
        kept.enter_context(_held(save_dir))
        if not (goes_on and inside) and newest(save_dir) is not None:
            moved.append(set_aside(save_dir))
            save_dir.mkdir()
            kept.enter_context(_held(save_dir))
        if not goes_on and log_dir.is_dir() and any(log_dir.glob("events.out.*")):
            moved.append(set_aside(log_dir))
        start_log(save_dir)
        for folder in moved:
            LOG.info("note: an earlier run was there: it is now %s", folder)
        runtime.wait_for_all("the start of the run")
        yield


def written_or_told(write: Callable[[], None]) -> None:
    """Write a file; a full disk is told, and does not end the run."""
    try:
        write()
    except (InputError, OSError) as error:
        LOG.warning("not written: %s; the run goes on, earlier files are as they were", error)


def stop_here(stop: StopRequest, runtime: Runtime, save: Callable[[], None], *, where: str, last: Path) -> None:
    """Save on the main rank and raise Stopped, with the signals that any rank got; collective."""
    signals = sorted({name for name in gather_text(stop.name or "", runtime) if name})
    if runtime.is_main:
        save()
    runtime.wait_for_all("the last checkpoint")
    raise Stopped(
        f"{', '.join(signals)} {where}; the same command with --resume auto goes on from {last}",
        signals,
    )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep a folder for this process; InputError while another one has it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        hold(handle, folder)
        yield
    finally:
        os.close(handle)
