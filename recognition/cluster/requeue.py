"""Putting this job back into the queue, by its own hand."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from recognition.environment import slurm_job

PATIENCE_S = 60


def requeue_job(reason: str, *, run: Callable[..., Any] = subprocess.run) -> str | None:
    """Ask SLURM to queue this job again (main rank only); the line to log, None outside of a job. Never raises.

    SLURM ends the job at once when it agrees, so all that must be on disk has to be there before.
    """
    job = slurm_job()
    if job is None:
        return None
    command = ["scontrol", "requeue", job.name]
    try:
        done = run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        failure = " ".join(done.stderr.split()) or f"exit code {done.returncode}" if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        failure = " ".join(str(error).split())
    if failure:
        return f"job {job.name} could not be queued again ({reason}): {failure}; submit it again, it resumes by itself"
    return f"job {job.name} is queued again ({reason})"
