"""Measure a training step, its parts and its data, and hold them to bounds; `bench.py COMMAND -h` explains each."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from recognition.benchmarks import backbone, data, data_index, gates, head, mapped, step, verification
from recognition.benchmarks.report import machine, show
from recognition.benchmarks.settings import Settings
from recognition.command import run_command


def main() -> None:
    """Run the benchmark that the command line names; exit code 1 when a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python launch/bench.py", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def add(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text} {more}")
        command.add_argument(
            "--repeats", type=positive, default=3, help="of each side, in turn; least counts (default: 3)"
        )
        command.add_argument("--threads", type=positive, default=1, help="CPU threads of a rank (default: 1)")
        command.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where (default: cpu)")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
        return command

    def several(command: argparse.ArgumentParser, name: str, kind: Any, default: list, text: str, **more: Any) -> None:
        shown = " ".join(map(str, default))
        command.add_argument(name, type=kind, nargs="+", default=default, help=f"{text} (default: {shown})", **more)

    heads = add("head", "The head alone: time, memory, collectives, waiting.", "Every combination of what is given.")
    heads.set_defaults(run=head.bench_head)
    several(heads, "--identities", positive, [100_000], "classes over all ranks")
    several(heads, "--rates", float, [1.0], "share of the classes in a step")
    several(heads, "--ranks", positive, [1], "processes, sharing the cores")
    several(heads, "--operands", str, ["fp32", "bf16"], "of the matrix products", choices=["fp32", "tf32", "bf16"])
    several(heads, "--modes", str, ["keep", "recompute"], "of the weights", choices=["auto", "keep", "recompute"])
    heads.add_argument("--batch", type=positive, default=256, help="samples over all ranks (default: 256)")
    heads.add_argument("--no-baseline", dest="baseline", action="store_false", help="measure the streamed head alone")

    backbones = add("backbone", "Forward and backward of a backbone against NCHW float32 eager.")
    backbones.set_defaults(run=backbone.bench_backbone)
    several(backbones, "--networks", str, ["r50", "mbf"], "names as in configs")
    backbones.add_argument("--batch", type=positive, help="images (default: 32 for mbf, else 8)")

    steps = add("step", "A whole training step against one as arcface_torch takes it, in float32.")
    steps.set_defaults(run=step.bench_step)
    steps.add_argument("--network", default="mbf", help="name as in configs (default: mbf)")
    steps.add_argument("--batch", type=positive, default=32, help="images (default: 32)")
    steps.add_argument("--identities", type=positive, default=100_000, help="classes (default: 100000)")
    several(steps, "--precisions", str, ["fp32", "bf16"], "of backbone and head", choices=["fp32", "bf16"])
    for command in (backbones, steps):
        command.add_argument(
            "--compile", dest="compiled", action="store_true", help="compiled variants too: minutes of compiling"
        )

    mmap = add(
        "mmap", "Centres in a sparse file: a fixed number of classes in a step, whatever the number of identities."
    )
    mmap.set_defaults(run=mapped.bench_mapped)
    several(mmap, "--identities", positive, list(mapped.IDENTITIES), "classes")
    mmap.add_argument("--sampled", type=positive, default=mapped.SAMPLED, help="classes in a step (default: 20000)")
    mmap.add_argument("--batch", type=positive, default=256, help="samples (default: 256)")

    loaders = add("data", "Images a second from a record file to batches, against reading as arcface_torch does.")
    loaders.set_defaults(run=data.bench_data)
    loaders.add_argument("--images", type=positive, default=data.IMAGES, help="in a pass (default: 8192)")
    loaders.add_argument("--batch", type=positive, default=data.BATCH, help="images (default: 128)")
    several(loaders, "--workers", natural, list(data.WORKERS), "threads; the others have the most of these")
    loaders.add_argument(
        "--source", type=Path, metavar="FOLDER", help="a set of your own, or its .rec (default: faces drawn for this)"
    )

    figures = add(
        "verification", "Figures of pairs as arcface_torch takes them and as here; everyone against everyone."
    )
    figures.set_defaults(run=verification.bench_verification)
    figures.add_argument("--pairs", type=positive, default=verification.PAIRS, help="of a set (default: 6000)")
    several(figures, "--images", positive, [20_000], "compared with each other")

    index = add("index", "Opening a set: its index at first, cached, and parsed line by line.")
    index.set_defaults(run=data_index.bench_index)
    index.add_argument(
        "--records", type=positive, default=data_index.RECORDS, help="in a sparse file (default: 42500000)"
    )
    for command in (mmap, index):
        command.add_argument(
            "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the files are made, then removed"
        )

    bounds = add("gates", "Every bound that a change must keep; exit code 1 when one is not kept.")
    bounds.set_defaults(run=gates.bench_gates)
    bounds.add_argument(
        "groups", nargs="*", default=["all"], metavar="GROUP", help=f"{', '.join(gates.NAMES)} (default: all)"
    )

    options = parser.parse_args().__dict__
    command, run, file = options.pop("command"), options.pop("run"), options.pop("json")
    settings = Settings(options.pop("repeats"), options.pop("threads"), options.pop("device"))
    rows = run(settings, **options)
    show(command, rows, machine(settings.device) | {"threads": settings.threads, "repeats": settings.repeats}, file)
    if not all(row.get("passed", True) for row in rows):
        raise SystemExit(1)


def natural(text: str) -> int:
    """A whole number, 0 too; ValueError otherwise, which argparse explains."""
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def positive(text: str) -> int:
    """A whole number above 0; ValueError otherwise, which argparse explains."""
    number = natural(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    run_command(main)
