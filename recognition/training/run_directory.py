"""The folder of one run: what is in it, who goes on in it, and how a new run leaves an earlier one alone."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recognition.atomic import write_text
from recognition.checkpoint.folder import listed, lock_folder
from recognition.checkpoint.layout import FOLDER, STATE
from recognition.checkpoint.opening import Checkpoint, newest_checkpoint
from recognition.collectives import gather_text
from recognition.config import config_json
from recognition.environment import was_restarted
from recognition.errors import InputError, Stopped
from recognition.runtime import Runtime
from recognition.training.plan import Progressed
from recognition.training.resume import FREE, contradictions
from recognition.training.state import progressed_of

STATUS, JOBS = "status.json", "slurm"


class RunConfig(Protocol):
    """What a run's folder asks of a config, which is a dataclass."""

    resume: bool | str

    @property
    def output_dir(self) -> Path: ...


@dataclass(frozen=True)
class Opened:
    """What was found in the run's folder: the checkpoint to go on from, if any, and what to tell the user."""

    checkpoint: Checkpoint | None = None
    remarks: tuple[str, ...] = ()
    was_finished: bool = False

    @property
    def document(self) -> Mapping[str, Any]:
        """The state document of the checkpoint."""
        return self.checkpoint.document(STATE)

    @property
    def step(self) -> int | None:
        """Steps taken up to the checkpoint, None without one."""
        return None if self.checkpoint is None else self.checkpoint.step

    @property
    def progressed(self) -> Progressed:
        """How far the run had come."""
        return progressed_of(self.document) if self.checkpoint is not None else Progressed()


def open_run(
    cfg: RunConfig, runtime: Runtime, facts: Mapping[str, Any], *, free: Collection[str] = FREE, data_key: str = "rec"
) -> Opened:
    """Look whether there is something to go on from, as `resume` says; changes nothing, collective.

    `facts` are the provenance of this start; a resume may change the settings `free`; `data_key` is the one that names
    the data. InputError when `resume=True` finds no checkpoint, or when config or data are not those that an unfinished
    run in the folder has been following.
    """
    if cfg.output_dir.exists() and not cfg.output_dir.is_dir():
        raise InputError(f"output={cfg.output_dir} is a file; give a folder")
    folder = cfg.output_dir / FOLDER
    # The main rank's view counts: a shared file system may show the others something older.
    seen = json.loads(gather_text(json.dumps([bool(listed(folder)), read_status(cfg.output_dir)]), runtime)[0])
    has_checkpoints, status = seen
    # What a person once said to a job does not count again when the job is started again by itself.
    starts_anew = cfg.resume is False and not was_restarted()
    if starts_anew or not has_checkpoints:
        if cfg.resume is True:
            raise InputError(f"resume=True, but {folder} holds no checkpoint; resume=auto starts anew then")
        return Opened()
    remarks: list[str] = []
    checkpoint = newest_checkpoint(folder, runtime, remarks.append)
    was_finished = status.get("state") == "finished"
    problems = contradictions(checkpoint.document(STATE)["config"], cfg, free)
    if checkpoint.facts.get("data_sha256") != facts["data_sha256"]:
        problems.append(f"{data_key}={getattr(cfg, data_key)} (the checkpoint has seen other data)")
    if problems:
        if was_finished and cfg.resume != True:  # noqa: E712 ("auto" is true as well)
            return Opened()
        raise InputError(
            f"{cfg.output_dir} holds an unfinished run with another config: {'; '.join(problems)}. Give it back these "
            f"values to go on, resume=False to start anew (the old run is set aside), or init={cfg.output_dir} and "
            f"another output to start from its weights"
        )
    return Opened(checkpoint, tuple(remarks), was_finished)


def prepare_run_directory(cfg: RunConfig, *, goes_on: bool = False) -> Path | None:
    """Create the run's folder with config.json in it; returns where an earlier run was set aside, if any.

    InputError when a living run is in the folder.
    """
    run_dir = cfg.output_dir
    aside = None
    if (run_dir / FOLDER).is_dir() and (lock := lock_folder(run_dir / FOLDER)) is not None:
        os.close(lock)  # it was free: no living run is moved, or written into
    if (run_dir / "config.json").exists() and not goes_on:
        aside = set_aside(run_dir)
        if (aside / JOBS).is_dir():
            # The log of the very job that runs may be in there, and SLURM opens it by its name again after a requeue.
            run_dir.mkdir()
            (aside / JOBS).rename(run_dir / JOBS)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(run_dir / "config.json", config_json(cfg))
    return aside


def set_aside(folder: Path) -> Path:
    """Give a folder another name, NAME.old-1 or the next that is free, and return that."""
    names = (folder.with_name(f"{folder.name}.old-{n}") for n in itertools.count(1))
    aside = next(path for path in names if not path.exists())
    folder.rename(aside)
    return aside


def read_status(run_dir: Path) -> dict[str, Any]:
    """What status.json says of a run, {} where there is none or it is damaged: then nobody knows."""
    try:
        status = json.loads((run_dir / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


class Status:
    """status.json, kept true: launchers go by it, not by exit codes."""

    def __init__(self, run_dir: Path, runtime: Runtime, *, first: int, last: int) -> None:
        self.run_dir, self.runtime, self.step, self.last = run_dir, runtime, first, last

    def write(self, state: str, why: str = "") -> None:
        """Say what became of the run: "running", "finished", "stopped" (on request, with a checkpoint) or "failed"."""
        if self.runtime.is_main:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            facts = {"state": state, "step": self.step, "steps": self.last, "time": now} | ({"why": why} if why else {})
            write_text(self.run_dir / STATUS, json.dumps(facts, indent=2) + "\n")

    def at(self, step: int, *, is_stored: bool) -> None:
        """Note how far the run is, in the file when a checkpoint says so, too."""
        self.step = step
        if is_stored:
            # A full disk is no reason to stop; the state is still the right one.
            with contextlib.suppress(OSError):
                self.write("running")


@contextmanager
def status_of(run_dir: Path, runtime: Runtime, *, first: int, last: int) -> Iterator[Status]:
    """Keep status.json while the block runs, and let it say afterwards how that ended."""
    status = Status(run_dir, runtime, first=first, last=last)
    status.write("running")
    try:
        yield status
    except BaseException as error:
        explained = runtime.explained(error)
        state = "stopped" if isinstance(error, (Stopped, KeyboardInterrupt)) else "failed"
        # The disk is full, perhaps: the error on its way says more.
        with contextlib.suppress(OSError):
            status.write(state, f"{type(explained).__name__}: {explained}"[:2000])
        if explained is not error:
            raise explained from error
        raise
    status.write("finished")
