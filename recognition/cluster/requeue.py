"""Putting this job back into the queue, by its own hand."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from recognition.environment import slurm_job
from recognition.errors import Stopped
from recognition.log import LOG
from recognition.runtime import Runtime, start_runtime

PATIENCE_S = 60


def run_and_requeue(train: Callable[[Any, Runtime], Any], cfg: Any) -> None:
    """`train(cfg, runtime)` on the ranks that were started; the job is queued again where `cfg.requeue` asks for it."""
    with start_runtime(cfg.device, threads=cfg.threads, collective_timeout_s=cfg.collective_timeout_s) as runtime:
        try:
            train(cfg, runtime)
        except Stopped as stopped:
            requeue_stopped(cfg.requeue, stopped, runtime)
            raise


def requeue_stopped(requeue: str, stopped: Stopped, runtime: Runtime) -> None:
    """Queue the job again if the run was stopped by a signal for which `requeue` asks that (main rank only)."""
    wanted = requeue == "always" or (requeue == "usr1" and "SIGUSR1" in stopped.signals)
    # Who presses Ctrl-C wants to be rid of it.
    if runtime.is_main and wanted and "SIGINT" not in stopped.signals:
        line = requeue_job(str(stopped))
        if line is not None:
            LOG.info("%s", line)


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
