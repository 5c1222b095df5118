"""Job scripts as sbatch and bash will read them."""

import dataclasses
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from recognition.cluster.experiments import plan_experiments, read_lines
from recognition.cluster.rendezvous import job_port
from recognition.cluster.script import TEMPLATES_DIR, Job, check_job, read_sbatch_args, render
from recognition.errors import InputError
from tests.conftest import CONFIGS

BASE = str(CONFIGS / "base.py")
TEMPLATES = sorted(TEMPLATES_DIR.glob("*.sh"))
ONE = Job(arguments=("configs/a.py",), name="a", folder=Path("/here"), log="/here/%x-%j.out")
AWKWARD = ("configs/a b.py", 'notes=it\'s $HOME `date` \\ "x"', "rec=/data/*", "lr=0.1")


def job(**changes):
    return check_job(dataclasses.replace(ONE, **changes))


def rendered(**changes):
    wanted = job(**changes)
    return render(wanted, wanted.template.read_text())


def options(script):
    """The options that sbatch would read: those before the first command, each once."""
    found = {}
    for line in script.splitlines():
        if line.startswith("#SBATCH "):
            (word,) = shlex.split(line.removeprefix("#SBATCH "))
            name, _, value = word.removeprefix("--").partition("=")
            assert name not in found, f"--{name} twice"
            found[name] = value
        elif line and not line.startswith("#"):
            break
    assert script.count("\n#SBATCH ") == len(found)
    return found


def sound(script):
    return subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True).stderr == ""


JOBS = [
    {},
    {"nodes": 4, "arguments": AWKWARD},
    {"array": 3, "arguments": ("/here/a b.experiments",)},
    {"requeue_from_shell": True, "setup": "source 'my env.sh'"},
    {"requeue": False, "interface": "ib0", "gpus_per_node": 0, "ranks_per_node": 2},
]


@pytest.mark.parametrize("changes", JOBS, ids=["one", "many", "array", "shell", "cpu"])
def test_every_script_is_sound_and_names_each_option_once(changes):
    script = rendered(**changes)
    found = options(script)
    assert sound(script)
    assert script.startswith("#!/bin/bash\n")
    assert found["nodes"] == str(changes.get("nodes", 1))
    assert found["signal"] == ("B:USR1@120" if "requeue_from_shell" in changes else "USR1@120")
    assert found["open-mode"] == "append"
    assert ("requeue" in found, "no-requeue" in found) == ((False, True) if "requeue" in changes else (True, False))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_template_is_sound_as_it_is(path):
    found = options(path.read_text())
    assert sound(path.read_text())
    assert found["signal"].endswith("USR1@120")
    assert {"requeue", "open-mode", "time", "nodes", "gpus-per-node", "ntasks-per-node"} <= set(found)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_template_starts_its_agents_the_same_way(path):
    text = path.read_text()
    for part in (
        "srun --kill-on-bad-exit=0 ",
        "--max-restarts=3 ",
        "--signals-to-handle=SIGTERM,SIGINT,SIGUSR1 ",
        '--shutdown-timeout="$shutdown_s" ',
    ):
        assert text.count(part) == 1, part
    assert text.count("--standalone") + text.count("--rdzv-backend=c10d") == 1
    many = (TEMPLATES_DIR / "many_nodes.sh").read_text()
    for line in re.findall(r"^(?:read|port=|    --rdzv|    --nnodes).*$", text, re.MULTILINE):
        assert line in many


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "one_node.sh"),
        ({"nodes": 2}, "many_nodes.sh"),
        ({"array": 5, "nodes": 2}, "array.sh"),
        ({"nodes": 2, "requeue_from_shell": True}, "requeue.sh"),
    ],
)
def test_the_template_that_fits_is_taken(changes, name):
    assert job(**changes).template.name == name


def test_arguments_reach_the_run_as_they_were_typed(tmp_path):
    script = rendered(nodes=2, arguments=AWKWARD)
    (line,) = [line for line in script.splitlines() if line.startswith("set -- ")]
    printed = subprocess.run(
        ["bash", "-c", line + "\nprintf '%s\\0' \"$@\""], capture_output=True, cwd=tmp_path, text=True
    )
    assert printed.stdout.split("\0")[:-1] == list(AWKWARD)


def test_settings_are_filled_in():
    script = rendered(
        nodes=2, gpus_per_node=4, interface="ib0", signal_s=300, setup="module load cuda", time="2-00:00:00"
    )
    assert {"gpus-per-node": "4", "time": "2-00:00:00", "signal": "USR1@300"}.items() <= options(script).items()
    lines = script.splitlines()
    assert {"ranks=4", "interface=ib0", "shutdown_s=290", "python=python"} <= set(lines)
    before, setup, after = (lines.index(line) for line in ("set +u", "module load cuda", "set -u"))
    assert before + 2 == setup + 1 == after
    assert after < next(number for number, line in enumerate(lines) if line.startswith("srun "))


def test_the_port_of_a_template_is_that_of_tasks_without_torchrun():
    (line,) = re.findall(r"^port=.*$", (TEMPLATES_DIR / "many_nodes.sh").read_text(), re.MULTILINE)
    for number in (1, 937, 938, 12345678):
        shell = f"SLURM_JOB_ID={number}\n{line}\necho $port"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
        assert int(done.stdout) == job_port(number)


def test_a_job_that_stays_out_of_the_queue_does_not_ask_for_it():
    assert "set -- configs/a.py requeue=never\n" in rendered(requeue=False)
    assert "set -- configs/a.py requeue=usr1\n" in rendered(requeue=False, arguments=("configs/a.py", "requeue=usr1"))
    assert "set -- configs/a.py\n" in rendered()


def test_further_options_win_and_are_named_once():
    found = options(
        rendered(sbatch_args=("--qos=high", "--exclusive", "--exclude", "n[1-3]", "--time=5", "--mail-user=a b"))
    )
    assert {
        "qos": "high",
        "exclusive": "",
        "exclude": "n[1-3]",
        "time": "5",
        "mail-user": "a b",
    }.items() <= found.items()


@pytest.mark.parametrize("words", [["-C", "a100"], ["high"], ["--qos=high", "more"], ["--"], ["--Qos=1"]])
def test_further_options_in_another_form_are_refused(words):
    with pytest.raises(InputError, match="long form"):
        read_sbatch_args(words)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": 0}, "must be at least 1"),
        ({"gpus_per_node": -1}, "at least 0"),
        ({"ranks_per_node": -2}, "must be at least 1"),
        ({"time": "24h"}, "'24h' is not known to SLURM"),
        ({"signal_s": 10}, "--signal-seconds 10"),
        ({"signal_s": 65536}, "at most 65535"),
        ({"name": "../a"}, "names a file, too"),
        ({"array": 2, "requeue_from_shell": True}, "goes with neither"),
        ({"requeue": False, "requeue_from_shell": True}, "goes with neither"),
        ({"arguments": ("a.py", "notes=a\nrm -r b")}, "line break"),
        ({"setup": "a\nb"}, "line break"),
    ],
)
def test_a_job_that_slurm_could_not_run_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        job(**changes)


@pytest.mark.parametrize("time", ["90", "90:00", "24:00:00", "2-12", "2-12:00", "2-12:00:00"])
def test_times_are_written_in_any_form_of_slurm(time):
    assert options(rendered(time=time))["time"] == time


def test_a_template_that_lost_a_setting_is_refused():
    text = ONE.template.read_text()
    with pytest.raises(InputError, match="has 0 lines like .*ranks"):
        render(ONE, re.sub(r"^ranks=.*\n", "", text, flags=re.MULTILINE))


# --- experiments ------------------------------------------------------------------------------------------------------


def test_lines_come_from_a_file_or_from_the_command_line(tmp_path):
    file = tmp_path / "experiments.txt"
    file.write_text("# two runs\n\nconfigs/a.py lr=0.1\n   \n  # more\nlr=0.2 seed=1\n")
    assert read_lines([str(file)]) == ["configs/a.py lr=0.1", "lr=0.2 seed=1"]
    assert read_lines(["lr=0.1", "lr=0.2"]) == ["lr=0.1", "lr=0.2"]


def test_experiments_add_their_own_to_what_all_share():
    lines = [f"{BASE} output=runs/a", "output=runs/b notes='two words'"]
    assert plan_experiments(lines, BASE, ["rec=synthetic", "num_classes=9", "num_image=99"]) == [
        [BASE, "rec=synthetic", "num_classes=9", "num_image=99", "output=runs/a"],
        [BASE, "rec=synthetic", "num_classes=9", "num_image=99", "output=runs/b", "notes=two words"],
    ]


@pytest.mark.parametrize(
    ("lines", "config", "message"),
    [
        ([], BASE, "no experiment"),
        (["lr=0.1"], None, "experiment 1, 'lr=0.1', names no config"),
        (["output=a", "notes='open"], BASE, "experiment 2, .*No closing quotation"),
        (["output=a", "learning=1"], BASE, "experiment 2: .*learning"),
        (["lr=0.1", "lr=0.2"], BASE, "experiments 1 and 2 would both write into .*; give each its output=DIR"),
        (["wandb_key=secret"], BASE, "`wandb login`"),
    ],
)
def test_experiments_that_would_fail_or_collide_are_refused(lines, config, message):
    with pytest.raises(InputError, match=message):
        plan_experiments(lines, config, ["rec=synthetic", "num_classes=9", "num_image=99"])
