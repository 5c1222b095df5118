"""The commands of launch/ in a process of their own, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest

from recognition.command import run_command
from tests.conftest import ROOT


def launch(script: str, *arguments: object, ranks: int = 1, timeout_s: float = 150) -> subprocess.CompletedProcess:
    """`python launch/SCRIPT ARGUMENTS`, by torchrun where there are several ranks; output as text."""
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command += [str(ROOT / "launch" / script), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, cwd=ROOT)


def run(command: ModuleType, *words: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command of launch/ in this process."""
    monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        run_command(command.main)
    return ended.value.code
