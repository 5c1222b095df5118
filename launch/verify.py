"""Verify a recogniser on pair sets: accuracy, AUC, EER, TAR at FAR, and a report.

    python launch/verify.py runs/first --targets data/lfw.bin data/agedb_30.bin
    python launch/verify.py backbone.pth --network r50 --targets lfw.bin --out report
    torchrun --nproc_per_node=8 launch/verify.py model.onnx --targets lfw.bin

MODEL is a run directory, a .safetensors file, a .pt or .pth of arcface_torch (the network is recognised by its weights;
--network settles it otherwise), or any .onnx with one picture input, whatever its layout or batch.
"""

import argparse
import json
from pathlib import Path

from recognition.command import run_command
from recognition.errors import InputError
from recognition.runtime import start_runtime
from recognition.verification import load_pairs, verify_pairs
from recognition.verification.embedding import embed_images
from recognition.verification.models import open_embedder
from recognition.verification.report import write_report


def main() -> None:
    """Parse the command line, verify on every target, print the table, write the report."""
    arguments = parse()
    with start_runtime(arguments.device) as runtime:
        options = {"bgr": arguments.bgr, "mean": arguments.mean, "std": arguments.std}
        model = open_embedder(arguments.model, arguments.network, **options, device=runtime.device)
        targets, results = {}, {}
        for path in arguments.targets:
            name = path.stem if path.stem not in targets else str(path)
            pairs = load_pairs(path, progress=runtime.is_main)
            model.require_size(*pairs.images.shape[1:3], str(path))
            flip, batch_size = not arguments.no_flip, arguments.batch_size
            embedded = embed_images(model, pairs.images, runtime=runtime, batch_size=batch_size, flip=flip, title=name)
            targets[name], results[name] = (
                pairs,
                (verify_pairs(embedded.emb_ND, pairs.issame, arguments.folds), embedded),
            )
            if runtime.is_main:
                print_result(name, *results[name])
        out = arguments.out or (arguments.model / "report" if arguments.model.is_dir() else None)
        if runtime.is_main and out is not None:
            training = rows(arguments.model)
            page = write_report(out, results, model=model.facts, targets=targets, training_rows=training)
            print(f"report: {page}")


def print_result(name, result, embedded) -> None:  # noqa: ANN001
    """One line of figures for a target, and its warnings."""
    tar = "  ".join(f"TAR@{far:g} {value:.4f}" for far, value in result.tar_at_far.items() if value is not None)
    print(
        f"{name}: accuracy {result.accuracy:.4f} +- {result.accuracy_std:.4f}  AUC {result.auc:.4f}  "
        f"EER {result.eer:.4f}  {tar}  XNorm {embedded.xnorm:.2f}  ({len(result.issame_P)} pairs)",
        flush=True,
    )
    for warning in result.warnings:
        print(f"{name}: warning: {warning}", flush=True)


def rows(model: Path) -> list[dict]:
    """The training rows of a run directory, for the loss curve; none for a file."""
    path = model / "metrics.jsonl"
    try:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="run directory, .safetensors, .pt, .pth or .onnx")
    parser.add_argument("--targets", type=Path, nargs="+", required=True, metavar="A.bin", help="pair sets (.bin)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the report (default: RUN/report for a run)")
    parser.add_argument("--network", help="architecture of a .pt whose weights do not tell it, e.g. r50")
    parser.add_argument("--bgr", action="store_true", default=None, help="the model wants BGR pictures (default: RGB)")
    parser.add_argument("--mean", type=float, help="subtracted from pixel values (default: the model's, else 127.5)")
    parser.add_argument("--std", type=float, help="then divided by this (default: the model's, else 127.5)")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures at a time on each rank (default: 64)")
    parser.add_argument("--folds", type=int, default=10, help="folds of the protocol (default: 10)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--no-flip", action="store_true", help="embed the pictures only, not their mirror images too")
    arguments = parser.parse_args()
    if arguments.batch_size < 1:
        parser.error("--batch-size must be at least 1")
    return arguments


if __name__ == "__main__":
    run_command(main)
