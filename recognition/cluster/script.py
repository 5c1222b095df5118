"""A job script for sbatch, made of a template in launch/slurm/ and what one job wants. All pure."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from recognition.errors import InputError

TEMPLATES_DIR = Path(__file__).resolve().parents[2] / "launch" / "slurm"
# Between the kill of the ranks by their agent and the kill of the agent by SLURM.
MARGIN_S = 10
TIME = re.compile(r"\d+(:\d\d){0,2}|\d+-\d\d?(:\d\d){0,2}")
SETUP_LINE = re.compile(r"^# Your environment, .*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a job asks of SLURM and starts; `arguments` follow the script, `folder` is where relative paths begin."""

    arguments: tuple[str, ...]
    name: str
    folder: Path
    log: str
    nodes: int = 1
    gpus_per_node: int = 8
    ranks_per_node: int | None = None
    cpus_per_gpu: int | None = 8
    time: str = "24:00:00"
    partition: str | None = None
    account: str | None = None
    mem: str | None = None
    array: int = 0
    requeue: bool = True
    requeue_from_shell: bool = False
    signal_s: int = 120
    interface: str | None = None
    setup: str | None = None
    sbatch_args: tuple[str, ...] = ()

    @property
    def template(self) -> Path:
        """The file in launch/slurm/ that fits."""
        if self.array:
            return TEMPLATES_DIR / "array.sh"
        if self.requeue_from_shell:
            return TEMPLATES_DIR / "requeue.sh"
        return TEMPLATES_DIR / ("one_node.sh" if self.nodes == 1 else "many_nodes.sh")


def check_job(job: Job) -> Job:
    """The job itself; InputError when SLURM could not run it as it is."""
    if job.nodes < 1 or job.gpus_per_node < 0 or (job.ranks_per_node or 1) < 1:
        raise InputError("--nodes and --ranks-per-node must be at least 1, --gpus-per-node at least 0")
    if not TIME.fullmatch(job.time):
        raise InputError(f"--time {job.time!r} is not known to SLURM; write 90 (minutes), 24:00:00 or 2-12:00:00")
    if not MARGIN_S < job.signal_s <= 65535:
        raise InputError(f"--signal-seconds {job.signal_s}: more than {MARGIN_S}, for a checkpoint, and at most 65535")
    if not re.fullmatch(r"[\w.+-]+", job.name):
        raise InputError(f"--job-name {job.name!r} names a file, too; use letters, digits and . + - _")
    if job.requeue_from_shell and (job.array or not job.requeue):
        raise InputError("--requeue-from shell goes with neither --array nor --no-requeue; leave one out")
    for text in (job.log, str(job.folder), *job.arguments, job.setup or ""):
        if "\n" in text:
            raise InputError(f"{text!r} has a line break in it; a job script cannot hold that")
    return job


def sbatch_options(job: Job) -> dict[str, str | None]:
    """Options of sbatch by their long names, None for those without a value; `sbatch_args` win over the rest."""
    reach = "B:" if job.requeue_from_shell else ""
    gpus = job.gpus_per_node
    options = {
        "job-name": job.name,
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "gpus-per-node": str(gpus) if gpus else "",
        "cpus-per-gpu": str(job.cpus_per_gpu) if gpus and job.cpus_per_gpu else "",
        "mem": job.mem,
        "time": job.time,
        "partition": job.partition,
        "account": job.account,
        "array": f"1-{job.array}" if job.array else "",
        "signal": f"{reach}USR1@{job.signal_s}",
        "open-mode": "append",
        "chdir": str(job.folder),
        "output": job.log,
    }
    wanted: dict[str, str | None] = {name: value for name, value in options.items() if value}
    wanted["requeue" if job.requeue else "no-requeue"] = None
    return wanted | read_sbatch_args(job.sbatch_args)


def read_sbatch_args(words: Iterable[str]) -> dict[str, str | None]:
    """`--qos=high --exclusive --exclude n3` as a dict; InputError for short forms, which could not be told apart."""
    options: dict[str, str | None] = {}
    name = None
    for word in words:
        if match := re.fullmatch(r"--([a-z][a-z0-9-]*)(?:=(.*))?", word):
            name = match[1]
            options[name] = match[2]
        elif name is not None and options[name] is None and not word.startswith("-"):
            options[name] = word
        else:
            raise InputError(f"--sbatch-args: {word!r} is not an option in its long form, such as --qos=high")
    return options


def render(job: Job, template: str) -> str:
    """The text of `template` with the options, settings and arguments of `job`."""
    lines = template.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("#SBATCH"))
    body = [line for line in lines[first:] if not line.startswith("#SBATCH")]
    options = [
        f"#SBATCH --{name}" + ("" if value is None else f"={shlex.quote(value)}")
        for name, value in sbatch_options(job).items()
    ]
    text = "\n".join(["#!/bin/bash", "# Made by launch/slurm.py.", *options, *body]) + "\n"
    settings = {
        "arcscale": str(TEMPLATES_DIR.parents[1]),
        # An environment that is set up in the job brings its own.
        "python": "python" if job.setup else sys.executable,
        "ranks": str(job.ranks_per_node or job.gpus_per_node or 1),
        "interface": job.interface or "",
        "shutdown_s": str(job.signal_s - MARGIN_S),
    }
    for name, value in settings.items():
        text = _replaced(text, re.compile(rf"^{name}=.*$", re.MULTILINE), f"{name}={shlex.quote(value)}")
    return _replaced(text, SETUP_LINE, "\n".join([*_setup_lines(job), _arguments_line(job)]))


def _setup_lines(job: Job) -> list[str]:
    # What others wrote to be sourced (conda, modules) reads variables that are not set.
    return ["set +u", job.setup, "set -u"] if job.setup else []


def _arguments_line(job: Job) -> str:
    own = job.arguments
    # A job that may not be queued again need not ask for it.
    if not job.requeue and not job.array and not any(word.startswith("requeue=") for word in own):
        own += ("requeue=never",)
    return f"set -- {shlex.join(own)}"


def _replaced(text: str, place: re.Pattern[str], line: str) -> str:
    text, count = place.subn(lambda _: line, text)
    if count != 1:
        raise InputError(f"the template has {count} lines like {place.pattern}, not one; take it as it was")
    return text
