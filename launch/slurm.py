"""Write a SLURM job for a training run and submit it.

    python launch/slurm.py CONFIG [key=value ...] --nodes 4 --gpus-per-node 8 --time 24:00:00
    python launch/slurm.py CONFIG [key=value ...] --array "lr=0.1 output=runs/a" "lr=0.2 output=runs/b"
    python launch/slurm.py --array experiments.txt --gpus-per-node 1
    python launch/slurm.py CONFIG --dry-run

The script is a template of launch/slurm/ with these settings; it is kept as slurm/NAME.sbatch in the run's folder (an
array's: beside the first run's folder), where the job's log goes, too. The config is checked before anything is
submitted. At the time limit or when it is pre-empted a run writes a checkpoint and queues its job again.
"""

import argparse
import dataclasses
import shlex
from pathlib import Path

from recognition.atomic import write_text
from recognition.cluster.experiments import checked_config, plan_experiments, read_lines
from recognition.cluster.script import Job, check_job, render
from recognition.cluster.submit import submit, write_experiments
from recognition.command import run_command
from recognition.errors import InputError


def main() -> None:
    """Check, render, and print the script or submit it."""
    given = parse()
    if given.array is not None:
        experiments = plan_experiments(read_lines(given.array), given.config, given.overrides)
        first = checked_config(experiments[0]).output_dir.absolute()
        name, folder = given.job_name or f"{first.name}-array", first.parent / "slurm"
        arguments = [str(folder / f"{name}.experiments")]
    elif given.config is None:
        raise InputError("which config? e.g. python launch/slurm.py configs/glint360k_r50.py --nodes 2")
    else:
        experiments, arguments = [], [given.config, *given.overrides]
        run_dir = checked_config(arguments).output_dir.absolute()
        name, folder = given.job_name or run_dir.name, run_dir / "slurm"
    fields = {field.name for field in dataclasses.fields(Job)} - {"array", "sbatch_args"}
    options = {name: getattr(given, name) for name in fields if hasattr(given, name)}
    log = str(folder).replace("%", "%%") + ("/%x-%A_%a.out" if experiments else "/%x-%j.out")
    job = Job(
        **options,
        sbatch_args=tuple(shlex.split(given.sbatch_args)),
        arguments=tuple(arguments),
        name=name,
        folder=Path.cwd(),
        log=log,
        array=len(experiments),
        requeue_from_shell=given.requeue_from == "shell",
    )
    script = render(check_job(job), job.template.read_text(encoding="utf-8"))
    if given.dry_run:
        print(script, end="")
        return
    path = folder / f"{name}.sbatch"
    write_text(path, script)
    if experiments:
        write_experiments(Path(arguments[0]), experiments)
    print(f"submitted job {submit(path)} ({name}): {path}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", help="config file, e.g. configs/glint360k_r50.py")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for launch/train.py")
    parser.add_argument("--nodes", type=int, default=1, help="machines (default: 1)")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="0: on CPUs (default: 8)")
    parser.add_argument("--ranks-per-node", type=int, help="processes on a node (default: one for each GPU)")
    parser.add_argument("--cpus-per-gpu", type=int, default=8, help="cores for each GPU, 0: as SLURM says (default: 8)")
    parser.add_argument("--time", default="24:00:00", help="limit of the job (default: 24:00:00)")
    parser.add_argument("--partition", help="queue (default: SLURM's)")
    parser.add_argument("--account", help="who pays (default: SLURM's)")
    parser.add_argument("--mem", help="memory of a node, e.g. 200G (default: SLURM's)")
    parser.add_argument("--job-name", help="name in the queue (default: the run's folder)")
    parser.add_argument("--array", nargs="+", metavar="EXPERIMENT", help="a file with `CONFIG key=value ...` a line")
    parser.add_argument(
        "--requeue", action=argparse.BooleanOptionalAction, default=True, help="queue again when cut off"
    )
    parser.add_argument("--requeue-from", choices=("run", "shell"), default="run", help="shell: tasks lack scontrol")
    parser.add_argument("--signal-seconds", dest="signal_s", type=int, default=120, help="warning before the limit")
    parser.add_argument("--interface", metavar="NAME", help="network interface of gloo and NCCL, e.g. ib0")
    parser.add_argument("--setup", metavar="LINE", help="shell line that makes the environment ready")
    parser.add_argument("--sbatch-args", default="", metavar="TEXT", help="more, e.g. --sbatch-args='--qos=high'")
    parser.add_argument("--dry-run", action="store_true", help="print the script; write and submit nothing")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    run_command(main)
