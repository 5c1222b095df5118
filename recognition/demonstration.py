"""The commands of a demonstration: printed as a user would type them, run one after the other or side by side."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock

from recognition.errors import InputError

LAUNCH = Path(__file__).parents[1] / "launch"
GRACE_S = 20.0
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}  # unless the user says otherwise


def command(script: str, *words: object, ranks: int = 1) -> None:
    """Run a script of launch/, or with "-m" a module, on `ranks` processes; InputError when it fails."""
    shown, run = _lines(script, words, ranks)
    print(f"$ {shown}", flush=True)
    _require_success(subprocess.run(run, env={**ENVIRONMENT, **os.environ}).returncode, "the command above")


def side_by_side(**groups: Sequence[Sequence[object]]) -> None:
    """Run the commands of each group in turn, all groups at once, each line of output behind its group's name.

    InputError when one fails; the others are ended then, as they are by Ctrl-C.
    """
    running: dict[str, subprocess.Popen] = {}
    is_over = False
    one_at_a_time = Lock()

    def say(line: str) -> None:
        with one_at_a_time:  # print writes the end of a line apart from the line
            print(line, flush=True)

    def run_group(name: str, commands: Sequence[Sequence[object]]) -> None:
        for script, *words in commands:
            if is_over:
                return
            shown, run = _lines(str(script), words, 1)
            say(f"[{name}] $ {shown}")
            process = subprocess.Popen(
                run,
                env={"PYTHONUNBUFFERED": "1", **ENVIRONMENT, **os.environ},
                start_new_session=True,  # so that it can be ended with all that it started
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            running[name] = process
            if is_over:  # since the look above
                _signal(process, signal.SIGTERM)
                _await_end(process)
            for line in process.stdout:
                say(f"[{name}] {line.rstrip()}")
            _require_success(process.wait(), f"[{name}] {shown}")

    with ThreadPoolExecutor(len(groups)) as pool:
        started = [pool.submit(run_group, name, commands) for name, commands in groups.items()]
        try:
            ended = wait(started, return_when=FIRST_EXCEPTION).done
            for future in ended:
                future.result()
        except BaseException:
            is_over = True
            for process in running.values():
                _signal(process, signal.SIGTERM)
            for process in running.values():
                _await_end(process)
            raise


def _await_end(process: subprocess.Popen) -> None:
    """Give a command that was asked to end GRACE_S to write its last files, and then end it with all it started."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    _signal(process, signal.SIGKILL)  # what it started may outlive it, and hold its output


def _signal(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _lines(script: str, words: Sequence[object], ranks: int) -> tuple[str, list[str]]:
    """A command for people, and the same for this machine's Python."""
    is_module = script == "-m"
    line = [script if is_module else os.path.relpath(LAUNCH / script), *map(str, words)]
    torchrun = ["--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    shown = shlex.join([*(["torchrun", *torchrun] if torchrun else ["python"]), *line])
    return shown, [sys.executable, *(["-m", "torch.distributed.run", *torchrun] if torchrun else []), *line]


def _require_success(code: int, what: str) -> None:
    if code != 0:
        raise InputError(f"{what} ended with exit code {code}; its message says why")
