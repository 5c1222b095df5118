"""A job as a user starts it: torchrun, its ranks, and whatever they leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tests.conftest import CONFIGS, ROOT
from tests.training.small_runs import PLAIN, SMALL

# torchrun hands these on to its ranks, as launch/slurm/ has it.
SIGNALS = "--signals-to-handle=SIGTERM,SIGINT,SIGUSR1"
MARK = "JOB_OF_THE_TESTS"


class Job:
    """The small run of tests/training/small_runs.py in `folder`/run by torchrun; `words` are overrides and faults.

    Every process of the job, orphans too, bears a mark in its environment. What is left when the block ends is killed.
    """

    def __init__(
        self,
        folder: Path,
        *words: str,
        ranks: int = 2,
        restarts: int = 0,
        environment: dict[str, str] | None = None,
        log_folder: Path | None = None,
    ) -> None:
        self.run_dir = folder / "run"
        self.log_file = (log_folder or folder) / f"job-{uuid.uuid4().hex[:8]}.log"
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "TORCHELASTIC"))}
        plain |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **(environment or {})}
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        command += [f"--max-restarts={restarts}", "--monitor-interval=0.1", SIGNALS]
        command += [str(ROOT / "tests" / "faults" / "worker.py"), str(CONFIGS / "base.py")]
        command += [*SMALL, *PLAIN, f"output={self.run_dir}", *words]
        with self.log_file.open("w") as log:
            self.agent = subprocess.Popen(
                command, stdout=log, stderr=log, env=plain | dict([self.mark.split("=")]), cwd=ROOT
            )

    @property
    def log(self) -> str:
        """All that torchrun and the ranks said."""
        return self.log_file.read_text()

    def processes(self) -> dict[int, dict[str, str]]:
        """Environment, by process id, of every process of the job that is there."""
        found = {}
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (folder / "environ").read_text(errors="replace").split("\0") if folder.name.isdigit() else []
                if self.mark in words:
                    found[int(folder.name)] = dict(word.split("=", 1) for word in words if "=" in word)
        return found

    def ranks(self) -> dict[int, int]:
        """Process id of each rank that is there."""
        return {int(variables["RANK"]): pid for pid, variables in self.processes().items() if "RANK" in variables}

    def wait(self, timeout_s: float = 120) -> int:
        """Exit code of torchrun, negative for a signal."""
        return self.agent.wait(timeout_s)

    def end(self, timeout_s: float = 120, gone_s: float = 5) -> int:
        """Exit code of torchrun, once no process of the job is left; TimeoutError with its log when one stays."""
        code = self.wait(timeout_s)
        self.until(lambda: not self.processes(), gone_s, "the end of all processes")
        return code

    def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for that; TimeoutError with the log when it does not come."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {what} within {timeout_s} s; left: {list(self.processes())}\n{self.log}")
            time.sleep(0.05)

    def until_step(self, step: int, timeout_s: float = 60) -> None:
        """Wait until so many steps were taken."""
        self.until(lambda: steps_logged(self.run_dir) >= step, timeout_s, f"step {step}")

    def send(self, *signals: signal.Signals) -> None:
        """To torchrun."""
        for number in signals:
            self.agent.send_signal(number)

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.agent.kill()
        self.agent.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def steps_logged(run_dir: Path) -> int:
    """Steps that metrics.jsonl has a row of."""
    with contextlib.suppress(FileNotFoundError):
        return (run_dir / "metrics.jsonl").read_text().count('"kind": "train"')
    return 0
