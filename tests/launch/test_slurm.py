"""launch/slurm.py and its templates, from the command line to a trained model, on a cluster of one machine."""

import json
import signal
import subprocess
import sys
import time

import pytest

from recognition.cluster.script import TEMPLATES_DIR
from tests.cluster.fake_slurm import FakeSlurm
from tests.conftest import CONFIGS, ROOT

# The smallest run of a real experiment.
CONFIG = str(CONFIGS / "ms1mv3_mbf.py")
QUICK = ("tiny=True", "val_targets=[]", "export_onnx=False", "using_tensorboard=False", "image_size=32", "max_steps=2")
ON_CPUS = ("--gpus-per-node", 0, "--ranks-per-node", 1, "--interface", "lo")


@pytest.fixture
def slurm(tmp_path):
    """Two nodes, both of them this machine."""
    return FakeSlurm(tmp_path / "bin", hosts=("127.0.0.1", "127.0.0.2"), nodes="127.0.0.[1-2]")


@pytest.fixture
def node(tmp_path):
    return FakeSlurm(tmp_path / "bin")


# --- submitting -------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_script_and_touches_nothing(tmp_path, slurm):
    done = slurm.submit(CONFIG, *QUICK, f"output={tmp_path / 'run'}", "--nodes", 2, "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True).returncode == 0
    assert "#SBATCH --nodes=2\n" in done.stdout
    assert slurm.calls("sbatch") == []
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([CONFIG, "learning_rate=1"], "error: command line: unknown key 'learning_rate'"),
        (["absent.py"], "error: config file absent.py does not exist"),
        ([], "error: which config?"),
        ([CONFIG, "wandb_key=secret"], "error: wandb_key would stand in the job script"),
        ([CONFIG, "--time", "tomorrow"], "error: --time 'tomorrow' is not known to SLURM"),
    ],
)
def test_a_mistake_is_told_before_anything_is_submitted(tmp_path, slurm, words, message):
    done = slurm.submit(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert slurm.calls("sbatch") == []


def test_a_refusal_of_sbatch_is_told(tmp_path, node):
    node.add("sbatch", "sys.exit('sbatch: error: invalid partition specified: fast')")
    done = node.submit(CONFIG, f"output={tmp_path / 'run'}", "--partition", "fast", cwd=tmp_path)
    script = tmp_path / "run" / "slurm" / "run.sbatch"
    message = f"error: sbatch refused {script}: sbatch: error: invalid partition specified: fast\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_a_machine_without_sbatch_is_told(tmp_path, node):
    (node.home / "sbatch").unlink()
    done = node.submit(CONFIG, f"output={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no sbatch on this machine; ")


# --- running ----------------------------------------------------------------------------------------------------------


def test_two_nodes_train_through_the_template(tmp_path, slurm):
    words = (CONFIG, *QUICK, "output=run", "notes=it's here", "--nodes", 2, *ON_CPUS)
    done = slurm.submit(*words, cwd=tmp_path)
    script = tmp_path / "run" / "slurm" / "run.sbatch"
    assert (done.stderr, done.stdout) == ("", f"submitted job 700 (run): {script}\n")
    assert slurm.calls("sbatch") == [["--parsable", str(script)]]
    code, log = slurm.run(slurm.home / "job-700.sh", log=tmp_path / "log", cwd=tmp_path)
    assert code == 0, log
    assert "2 rank(s) on cpu" in log
    assert json.loads((tmp_path / "run" / "config.json").read_text())["notes"] == "it's here"
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert slurm.calls("scontrol") == [["show", "hostnames", "127.0.0.[1-2]"]]


def test_each_task_of_an_array_trains_its_own_experiment(tmp_path, node):
    file = tmp_path / "experiments.txt"
    file.write_text("# rates\nlr=0.01 output=runs/a notes='a b'\n\nlr=0.02 output=runs/b\n")
    done = node.submit(CONFIG, *QUICK, "--array", file, "--job-name", "rates", *ON_CPUS, cwd=tmp_path)
    assert done.stdout == f"submitted job 700 (rates): {tmp_path / 'runs' / 'slurm' / 'rates.sbatch'}\n", done.stderr
    script = node.home / "job-700.sh"
    assert "#SBATCH --array=1-2\n" in script.read_text()
    file.write_text("changed after the job was submitted\n")
    for task in (1, 2):
        variables = {"SLURM_JOB_ID": 701 + task, "SLURM_ARRAY_JOB_ID": 700, "SLURM_ARRAY_TASK_ID": task}
        code, log = node.run(script, log=tmp_path / f"log-{task}", cwd=tmp_path, **variables)
        assert code == 0, log
    ran = {name: json.loads((tmp_path / "runs" / name / "config.json").read_text()) for name in ("a", "b")}
    assert (ran["a"]["lr"], ran["a"]["notes"], ran["b"]["lr"]) == (0.01, "a b", 0.02)
    code, log = node.run(script, log=tmp_path / "log-3", cwd=tmp_path, SLURM_ARRAY_TASK_ID=3)
    assert code == 2
    assert "has no experiment 3" in log


def test_a_template_by_hand_trains_on_one_node(tmp_path, node):
    words = (CONFIG, *QUICK, f"output={tmp_path / 'run'}")
    code, log = node.run(TEMPLATES_DIR / "one_node.sh", *words, log=tmp_path / "log", cwd=ROOT)
    assert code == 0, log
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.parametrize(("inside", "message"), [(False, "submit from there"), (True, "which config?")])
def test_a_template_by_hand_says_what_is_missing(tmp_path, node, inside, message):
    words = () if inside else (CONFIG,)
    code, log = node.run(TEMPLATES_DIR / "one_node.sh", *words, log=tmp_path / "log", cwd=ROOT if inside else tmp_path)
    assert code == 2
    assert message in log
    assert node.calls("srun") == []


def preflight(cluster, folder, *, tasks, timeout_s):
    """Exit code and log of `srun python launch/preflight.py` as a job, so many tasks a node."""
    script = folder / "job.sh"
    script.write_text(f'#!/bin/bash\nsrun --ntasks-per-node={tasks} "$@"\n')
    words = (sys.executable, ROOT / "launch" / "preflight.py", "--mb", 1, "--folder", folder, "--timeout", timeout_s)
    return cluster.run(script, *words, log=folder / "log", cwd=folder)


def test_tasks_of_srun_are_ranks_without_torchrun(tmp_path, node):
    code, log = preflight(node, tmp_path, tasks=2, timeout_s=60)
    assert code == 0, log
    assert [line.split()[0] for line in log.splitlines()[1:3]] == ["0", "1"]


def test_a_first_host_whose_name_means_every_machine_itself_is_found_out(tmp_path, slurm):
    code, log = preflight(slurm, tmp_path, tasks=1, timeout_s=10)
    assert code == 2
    assert "[rank 1] error: " in log
    assert "the name '127.0.0.1' means this machine itself here" in log
    assert "[rank 0] error: arrival: no word from rank 1 (127.0.0.2) within 10 s" in log


def test_tasks_of_srun_train_without_torchrun(tmp_path, slurm):
    script = tmp_path / "job.sh"
    script.write_text('#!/bin/bash\nsrun "$@"\n')
    words = (sys.executable, ROOT / "launch" / "train.py", CONFIG, *QUICK, f"output={tmp_path / 'run'}")
    code, log = slurm.run(script, *words, log=tmp_path / "log", cwd=tmp_path)
    assert code == 0, log
    assert "2 rank(s) on cpu" in log


# --- back into the queue ----------------------------------------------------------------------------------------------

# In place of torchrun: at USR1 the ranks write a checkpoint, after which the agent ends with 1, or with 0 at the end.
AGENT = """
import pathlib, signal, time
def stop(*_):
    time.sleep(0.5)
    pathlib.Path("checkpoint").touch()
    sys.exit({code})
signal.signal(signal.SIGUSR1, stop)
pathlib.Path("started").touch()
time.sleep({seconds})
sys.exit({code})
"""


def end_of_shell_job(node, folder, *, code, seconds, warned):
    """Exit code and `scontrol requeue` calls of launch/slurm/requeue.sh around a run that takes so long and ends so."""
    node.add("python", AGENT.format(code=code, seconds=seconds))
    (folder / "launch").mkdir()
    (folder / "launch" / "train.py").touch()
    process = node.start(TEMPLATES_DIR / "requeue.sh", CONFIG, log=folder / "log", cwd=folder, SLURM_JOB_ID=712)
    try:
        deadline = time.monotonic() + 30
        while not (folder / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if warned:
            process.send_signal(signal.SIGUSR1)
        return process.wait(30), [words for words in node.calls("scontrol") if words[0] == "requeue"]
    finally:
        process.kill()


def test_a_shell_that_is_warned_waits_for_the_checkpoint_and_queues_its_job_again(tmp_path, node):
    assert end_of_shell_job(node, tmp_path, code=1, seconds=30, warned=True) == (1, [["requeue", "712"]])
    assert (tmp_path / "checkpoint").exists()
    assert node.calls("python")[0][-2:] == [CONFIG, "requeue=never"]


def test_a_run_that_finished_in_time_is_not_queued_again(tmp_path, node):
    assert end_of_shell_job(node, tmp_path, code=0, seconds=30, warned=True) == (0, [])


def test_a_run_that_failed_by_itself_is_not_queued_again(tmp_path, node):
    assert end_of_shell_job(node, tmp_path, code=1, seconds=0.1, warned=False) == (1, [])
