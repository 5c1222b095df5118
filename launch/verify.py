"""Verify a recogniser on pair sets: accuracy, AUC, EER, TAR at FAR, and a report.

    python launch/verify.py runs/first --targets data/lfw.bin data/agedb_30.bin
    python launch/verify.py backbone.pth --network r50 --targets lfw.bin --out report
    torchrun --nproc_per_node=8 launch/verify.py model.onnx --targets lfw.bin

MODEL is a run directory, a checkpoint, a .safetensors file, a .pt or .pth of arcface_torch (the network is recognised
by its weights; --network settles it otherwise), or any .onnx with one picture input, whatever its layout or batch.
"""

import argparse
from pathlib import Path

from recognition.checkpoint.layout import FOLDER, is_checkpoint
from recognition.command import run_command
from recognition.embedding.models import open_embedder
from recognition.report.writing import write_report
from recognition.runtime import start_runtime
from recognition.targets.opening import open_target
from recognition.targets.target import Options, Scored, lines
from recognition.training.metrics import read_rows


def main() -> None:
    """Parse the command line, verify on every target, print the table, write the report."""
    arguments = parse()
    with start_runtime(arguments.device) as runtime:
        options = {"bgr": arguments.bgr, "mean": arguments.mean, "std": arguments.std}
        model = open_embedder(arguments.model, arguments.network, **options, device=runtime.device)
        scored: dict[str, Scored] = {}
        for text in arguments.targets:
            name = Path(text).stem if Path(text).stem not in scored else text
            target = open_target(text, name, Options(size=model.size, progress=runtime.is_main))
            outcome = target.score(model, runtime=runtime, batch_size=arguments.batch_size)
            scored[name] = Scored(target, (outcome,))
            if runtime.is_main:
                print("\n".join(lines(name, outcome)), flush=True)
        out = arguments.out or (arguments.model / "report-verify" if is_run_directory(arguments.model) else None)
        if runtime.is_main and out is not None:
            training = read_rows(arguments.model, "train")
            page = write_report(out, list(scored.values()), models=[model.facts], training_rows=training)
            print(f"report: {page}")


def is_run_directory(model: Path) -> bool:
    """Whether a report may be put beside the model; a checkpoint holds what its manifest lists, and nothing else."""
    return model.is_dir() and not is_checkpoint(model.resolve()) or (model / FOLDER).is_dir()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="run directory, checkpoint, .safetensors, .pt, .pth or .onnx")
    parser.add_argument("--targets", nargs="+", required=True, metavar="A.bin", help="pair sets (.bin)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the report (default: RUN/report-verify)")
    parser.add_argument("--network", help="architecture of a .pt whose weights do not tell it, e.g. r50")
    parser.add_argument("--bgr", action="store_true", default=None, help="the model wants BGR pictures (default: RGB)")
    parser.add_argument("--mean", type=float, help="subtracted from pixel values (default: the model's, else 127.5)")
    parser.add_argument("--std", type=float, help="then divided by this (default: the model's, else 127.5)")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures at a time on each rank (default: 64)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    arguments = parser.parse_args()
    if arguments.batch_size < 1:
        parser.error("--batch-size must be at least 1")
    return arguments


if __name__ == "__main__":
    run_command(main)
