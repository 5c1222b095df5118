"""Restarts that lead nowhere: counted in the run's folder, and ended after a few instead of going on for ever."""

from __future__ import annotations

import json
from pathlib import Path

from recognition.atomic import write_text
from recognition.collectives import gather_text
from recognition.errors import GivingUp
from recognition.runtime import Runtime

FILE = "restarts.json"


def require_progress(run_dir: Path, newest_step: int | None, *, restarts: int, limit: int, runtime: Runtime) -> None:
    """`note_restart` on the main rank; GivingUp on every rank when it gives up, so that every launcher can be told."""
    message = ""
    if runtime.is_main:
        try:
            note_restart(run_dir, newest_step, restarts=restarts, limit=limit)
        except GivingUp as error:
            message = str(error)
    message = gather_text(message, runtime, what="the decision to go on")[0]
    if message:
        raise GivingUp(message)


def note_restart(run_dir: Path, newest_step: int | None, *, restarts: int, limit: int) -> None:
    """Count this start of the run; GivingUp when `limit` restarts in a row brought no checkpoint newer than before.

    `newest_step` is the step of the newest checkpoint, None without one; `restarts` is how often the job was restarted
    by torchrun or the queue. A job that people start by hand (restarts 0) begins to count anew.
    """
    path = run_dir / FILE
    step = -1 if newest_step is None else newest_step
    before_step, fruitless = _noted(path)
    if restarts == 0:
        fruitless = 0
    else:
        fruitless = 1 if step > before_step else fruitless + 1
    if fruitless > limit:
        newest = "and there is no checkpoint yet" if step < 0 else f"the newest checkpoint is still that of step {step}"
        raise GivingUp(
            f"{run_dir}: restarted {limit} times in a row, {newest}; giving up. The messages of the restarts say what "
            f"stops them; start the run again once that is put right"
        )
    write_text(path, json.dumps({"newest_step": step, "fruitless_restarts": fruitless}) + "\n")


def _noted(path: Path) -> tuple[int, int]:
    """Newest step (-1 = none) and restarts without a newer one, as of the last start."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return int(noted["newest_step"]), int(noted["fruitless_restarts"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # A file that somebody damaged must not keep the run from going on.
        return -1, 0
