"""A cluster of one machine: `sbatch`, `srun`, `scontrol` and `scancel` that do, in little, what SLURM's manual says.

`sbatch` keeps a copy of the script and answers with a number. `FakeSlurm.start` runs it as a job, with the variables
that SLURM sets; `srun` starts the tasks of all nodes here and hands signals on. What each was asked is in `calls`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SBATCH = """
import json, pathlib, shutil, sys
words, home = sys.argv[1:], pathlib.Path(__file__).parent
number = str(700 + len(list(home.glob("job-*.sh"))))
script = next(n for n, word in enumerate(words) if not word.startswith("-"))
shutil.copy(words[script], home / f"job-{number}.sh")
(home / f"job-{number}.json").write_text(json.dumps({"options": words[:script], "arguments": words[script + 1:]}))
print(number if "--parsable" in words else f"Submitted batch job {number}")
"""

SRUN = """
import os, pathlib, signal, subprocess, sys
words, home = sys.argv[1:], pathlib.Path(__file__).parent
given = {}
while words[0].startswith("--"):
    name, _, value = words.pop(0).partition("=")
    given[name] = value
hosts = os.environ["FAKE_HOSTS"].split()
each = int(given.get("--ntasks-per-node") or os.environ.get("SLURM_NTASKS_PER_NODE", 1))
tasks = []

def forward(number, _):
    for task in tasks:
        task.send_signal(number)

signal.signal(signal.SIGUSR1, forward)
signal.signal(signal.SIGTERM, forward)
for node, host in enumerate(hosts):
    for local in range(each):
        place = {"PROCID": node * each + local, "LOCALID": local, "NODEID": node, "NTASKS": len(hosts) * each}
        place |= {"STEP_ID": 0, "STEP_NODELIST": os.environ["SLURM_JOB_NODELIST"]}
        place |= {"STEP_TASKS_PER_NODE": f"{each}(x{len(hosts)})" if len(hosts) > 1 else each}
        names = {f"SLURM_{name}": str(value) for name, value in place.items()}
        tasks.append(subprocess.Popen(words, env={**os.environ, **names, "SLURMD_NODENAME": host}))
(home / "srun.pid").write_text(str(os.getpid()))
sys.exit(max(abs(task.wait()) for task in tasks))
"""

SCONTROL = """
import os, sys
if sys.argv[1:3] == ["show", "hostnames"]:
    assert sys.argv[3] == os.environ["SLURM_JOB_NODELIST"]
    print("\\n".join(os.environ["FAKE_HOSTS"].split()))
"""

SCANCEL = """
import os, pathlib, signal
os.kill(int((pathlib.Path(__file__).parent / "srun.pid").read_text()), signal.SIGUSR1)
"""

LOGGED = """#!{python}
import json, pathlib, sys
with open(pathlib.Path(__file__).parent / "calls", "a") as calls:
    calls.write(json.dumps([pathlib.Path(__file__).name, *sys.argv[1:]]) + "\\n")
"""


class FakeSlurm:
    """The commands in a folder, and jobs that were submitted to it; `hosts` are names of this machine."""

    def __init__(self, folder: Path, hosts: tuple[str, ...] = ("127.0.0.1",), nodes: str = "127.0.0.1") -> None:
        self.home, self.hosts, self.nodes = folder, hosts, nodes
        folder.mkdir()
        for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", SCONTROL), ("scancel", SCANCEL)):
            self.add(name, text)

    def add(self, name: str, text: str) -> None:
        """Another Python program on the PATH of the cluster; its calls are noted, too."""
        (self.home / name).write_text(LOGGED.format(python=sys.executable) + text)
        (self.home / name).chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        """Arguments of every call of a command, in order."""
        path = self.home / "calls"
        calls = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [words for command, *words in calls if command == name]

    def environment(self, **more: object) -> dict[str, str]:
        """That of a user who is logged in: no variable of a launcher, the commands first on the PATH."""
        prefixes = ("SLURM", "TORCHELASTIC")
        plain = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
        plain |= {
            "PATH": f"{self.home}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        return plain | {"FAKE_HOSTS": " ".join(self.hosts)} | {key: str(value) for key, value in more.items()}

    def submit(self, *words: object, cwd: Path) -> subprocess.CompletedProcess:
        """`python launch/slurm.py WORDS` on the login node."""
        command = [sys.executable, str(ROOT / "launch" / "slurm.py"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.environment(), cwd=cwd)

    def start(self, script: Path, *arguments: object, log: Path, cwd: Path, **variables: object) -> subprocess.Popen:
        """Run a script as the batch step of a job on all hosts; output is appended to `log`."""
        given = {
            "SLURM_JOB_ID": 700 + os.getpid() % 900,
            "SLURM_JOB_NUM_NODES": len(self.hosts),
            "SLURM_JOB_NODELIST": self.nodes,
            "SLURM_NTASKS_PER_NODE": 1,
            "SLURM_NTASKS": len(self.hosts),
            **variables,
        }
        with log.open("a") as file:
            return subprocess.Popen(
                ["bash", str(script), *map(str, arguments)],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self.environment(**given),
                cwd=cwd,
            )

    def run(self, script: Path, *arguments: object, log: Path, cwd: Path, timeout_s: float = 150, **variables: object):
        """Exit code of the job, and what its log has."""
        process = self.start(script, *arguments, log=log, cwd=cwd, **variables)
        try:
            return process.wait(timeout_s), log.read_text()
        finally:
            process.terminate()
            process.wait(10)
