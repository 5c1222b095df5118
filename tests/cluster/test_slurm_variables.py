"""What SLURM's variables say of a process: its rank, where ranks meet, and how its job is put back into the queue."""

import subprocess
from types import SimpleNamespace

import pytest

from recognition.cluster.rendezvous import job_port, rendezvous_address, rendezvous_url
from recognition.cluster.requeue import requeue_job
from recognition.environment import Launched, SlurmJob, launched, slurm_job
from recognition.errors import InputError

# The third task on the second of three nodes that run 2, 4 and 4 tasks, after one requeue.
TASK = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NODELIST": "n[1-9]",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "n[07-09]",
    "SLURM_NTASKS": "10",
    "SLURM_PROCID": "4",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "1",
    "SLURM_TASKS_PER_NODE": "2,4(x2)",
    "SLURM_RESTART_COUNT": "1",
}


@pytest.fixture
def say(monkeypatch):
    def say(values):
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return say


# --- ranks ------------------------------------------------------------------------------------------------------------


def test_a_task_of_srun_is_a_rank(say):
    say(TASK)
    assert launched() == Launched(rank=4, world=10, local_rank=2, local_world=4, restarts=1)


def test_the_layout_of_the_step_wins_over_that_of_the_job(say):
    say(TASK | {"SLURM_STEP_TASKS_PER_NODE": "3,5,2"})
    assert launched().local_world == 5


def test_one_number_of_tasks_a_node_will_do(say, monkeypatch):
    say(TASK | {"SLURM_NTASKS_PER_NODE": "5"})
    monkeypatch.delenv("SLURM_TASKS_PER_NODE")
    assert launched().local_world == 5


def test_torchrun_inside_of_a_task_wins(say):
    say(TASK | {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2})
    assert launched() == Launched(rank=1, world=2, local_rank=1, local_world=2, restarts=0)


@pytest.mark.parametrize(
    "change",
    [
        {"SLURM_STEP_ID": ""},  # the batch script, where SLURM_NTASKS stands, too
        {"SLURM_STEP_ID": "4294967291"},  # the same in later versions
        {"SLURM_STEP_ID": "4294967290"},  # the shell of salloc
        {"SLURM_PTY_PORT": "40000"},  # srun --pty bash
        {"SLURM_NTASKS": "1"},
    ],
)
def test_a_process_that_srun_did_not_start_as_one_of_several_is_alone(say, change):
    say(TASK | change)
    assert launched() == Launched()


# --- where ranks meet -------------------------------------------------------------------------------------------------


def test_tasks_meet_on_the_first_host_of_their_step_at_a_port_of_their_job(say):
    say(TASK)
    assert rendezvous_address() == ("n07", 15000 + 16 * 4711 % 15000)
    assert rendezvous_url() == f"tcp://n07:{15000 + 16 * 4711 % 15000}"


def test_what_a_launcher_says_of_the_meeting_place_wins(say):
    say(TASK | {"MASTER_ADDR": "other", "MASTER_PORT": 1234})
    assert (rendezvous_address(), rendezvous_url()) == (("other", 1234), "env://")


def test_ranks_that_nobody_told_where_to_meet_are_refused(say):
    say({"RANK": 0, "WORLD_SIZE": 2})
    with pytest.raises(InputError, match="MASTER_ADDR and MASTER_PORT are not set; start them by torchrun or srun"):
        rendezvous_address()


def test_jobs_and_steps_on_one_node_do_not_share_a_port():
    ports = {job_port(number, step) for number in range(70_000_000, 70_000_900) for step in range(16)}
    assert len(ports) == 900 * 16
    assert min(ports) >= 15000
    assert max(ports) < 30000


# --- back into the queue ----------------------------------------------------------------------------------------------


def answer(returncode=0, stderr=""):
    """A `subprocess.run` that notes what it was asked to run."""
    asked = []

    def run(command, **options):
        asked.append(command)
        assert options["timeout"] > 0
        return SimpleNamespace(returncode=returncode, stdout="", stderr=stderr)

    return run, asked


def test_a_job_queues_itself_again(say):
    run, asked = answer()
    assert requeue_job("nobody asked", run=run) is None
    assert asked == []
    say(TASK)
    assert requeue_job("time limit near", run=run) == "job 4711 is queued again (time limit near)"
    assert asked == [["scontrol", "requeue", "4711"]]


def test_a_task_of_an_array_queues_itself_and_not_the_array(say):
    run, asked = answer()
    say(TASK | {"SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "11"})
    assert requeue_job("time limit near", run=run) == "job 4700_11 is queued again (time limit near)"
    assert asked == [["scontrol", "requeue", "4700_11"]]
    assert slurm_job() == SlurmJob(number=4711, name="4700_11", nodes="n[07-09]", step=0)


def test_a_refusal_is_told_and_not_raised(say):
    say(TASK)
    run, _ = answer(1, "slurm_requeue error:\n Requeue disabled\n")
    assert requeue_job("limit", run=run) == (
        "job 4711 could not be queued again (limit): slurm_requeue error: Requeue disabled; "
        "submit it again, it resumes by itself"
    )
    run, _ = answer(3)
    assert "exit code 3" in requeue_job("limit", run=run)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "scontrol"), subprocess.TimeoutExpired("s", 60)]
)
def test_a_scontrol_that_is_absent_or_hangs_is_told_and_not_raised(say, error):
    say(TASK)

    def run(*_, **__):
        raise error

    assert "job 4711 could not be queued again (limit): " in requeue_job("limit", run=run)
