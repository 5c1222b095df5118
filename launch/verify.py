"""Verify recognisers: pairs, templates, galleries, everyone with everyone; figures with intervals, and a report.

    python launch/verify.py runs/first --targets data/lfw.bin data/agedb_30.bin
    python launch/verify.py runs/first other.onnx --targets lfw.bin --out report        # side by side: is it chance?
    python launch/verify.py backbone.pth --network r50 --targets pairs.csv --images photos --detector yunet.onnx
    torchrun --nproc_per_node=8 launch/verify.py model.onnx --targets ijbc:IJBC all:data/people

MODEL is a run directory, a checkpoint, a .safetensors file, a .pt or .pth of arcface_torch (the network is recognised
by its weights; --network settles it otherwise), TorchScript, or any .onnx with one picture input.
"""

import argparse
from pathlib import Path

from recognition.checkpoint.layout import FOLDER, is_checkpoint
from recognition.command import run_command
from recognition.embedding.models import open_embedder
from recognition.embedding.preprocess import recipes_help
from recognition.report.names import model_names
from recognition.report.writing import require_writable, write_report
from recognition.runtime import start_runtime
from recognition.targets.opening import HELP, open_targets
from recognition.targets.scoring import require_all_scored, score_all
from recognition.targets.target import DIAGNOSES, Options
from recognition.training.metrics import read_rows
from recognition.verification.bootstrap import PAIRS, PEOPLE, REPLICATES


def main() -> None:
    """Parse the command line, verify every model on every target, print the figures, write the report."""
    given = parse()
    with start_runtime(given.device) as runtime:
        feeding = {"preprocess": given.preprocess, "bgr": given.bgr, "mean": given.mean, "std": given.std}
        models = [open_embedder(model, given.network, **feeding, device=runtime.device) for model in given.models]
        out = given.out or (given.models[0] / "report-verify" if is_run_directory(given.models[0]) else None)
        if out is not None and runtime.is_main:
            require_writable(out)
        told = {
            key: getattr(given, key)
            for key in ("images", "groups", "detector", "replicates", "seed", "unit", "diagnose")
        }
        targets = open_targets(given.targets, Options(**told))
        names = model_names([model.facts for model in models])
        scored = []
        try:
            scored.extend(score_all(targets, models, names, runtime=runtime, batch_size=given.batch_size))
        finally:  # whatever ended it: hours of figures are worth their report
            if runtime.is_main and out is not None and scored:
                training = read_rows(given.models[0], "train") if len(models) == 1 else None
                page = write_report(out, scored, models=[model.facts for model in models], training_rows=training)
                print(f"report: {page}", flush=True)
        if runtime.is_main and out is None:
            print("intervals, charts and the worst pairs are in the report, which --out DIR writes")
        runtime.wait_for_all("the report")  # a launcher ends all ranks when one ends with an error
        require_all_scored(scored, names)


def is_run_directory(model: Path) -> bool:
    """Whether a report may be put beside the model; a checkpoint holds what its manifest lists, and nothing else."""
    return model.is_dir() and not is_checkpoint(model.resolve()) or (model / FOLDER).is_dir()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{HELP}\npreprocessing (--preprocess):\n{recipes_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "models", type=Path, nargs="+", metavar="MODEL", help="run directory, checkpoint or file; several: side by side"
    )
    add("--targets", nargs="+", required=True, metavar="TARGET", help="what to verify on, see below")
    add("--out", type=Path, metavar="DIR", help="folder for the report (default: RUN/report-verify, else none)")
    add("--images", type=Path, metavar="DIR", help="what the paths of a list are relative to (default: its folder)")
    add("--groups", type=Path, metavar="CSV", help="column `group`, a row a pair (default: the list's own)")
    add("--detector", type=Path, metavar="ONNX", help="finds and aligns the faces of photos (default: aligned already)")
    add("--replicates", type=int, default=REPLICATES, help="resamples for intervals; 0: none (default: 1000)")
    add("--seed", type=int, default=0, help="of the resamples (default: 0)")
    add("--unit", choices=(PAIRS, PEOPLE), help="what is resampled (default: people where a list says who they are)")
    add("--diagnose", choices=DIAGNOSES, default="auto", help="say what is wrong with a model (default: auto)")
    add("--network", help="architecture of a .pt whose weights do not tell it, e.g. r50")
    add("--preprocess", metavar="RECIPE", help="how pictures are prepared (default: as the model says), see below")
    add("--bgr", action="store_true", default=None, help="the model wants BGR pictures (default: RGB)")
    add("--mean", type=float, help="subtracted from pixel values (default: the model's, else 127.5)")
    add("--std", type=float, help="then divided by this (default: the model's, else 127.5)")
    add("--batch-size", type=int, default=64, help="pictures at a time on each rank (default: 64)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    given = parser.parse_args()
    if given.batch_size < 1:
        parser.error("--batch-size must be at least 1")
    if given.replicates < 0 or given.replicates == 1:
        parser.error("--replicates must be 0 for no intervals, or at least 2, better 1000")
    return given


if __name__ == "__main__":
    run_command(main)
