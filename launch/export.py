"""Export what was trained: ONNX in several precisions, a model folder for Hugging Face; compare and check ONNX files.

    python launch/export.py runs/first --out model.onnx
    python launch/export.py backbone.pth --network r50 --out model.onnx
    python launch/export.py runs/first --out model.onnx --precision fp32 fp16 int8 --calibrate data/train \\
        --targets data/lfw.bin --table table.md
    python launch/export.py runs/first --hub folder --license cc-by-nc-4.0
    python launch/export.py a.onnx --compare b.onnx c.onnx --targets data/lfw.bin
    python launch/export.py model.onnx --check
    python launch/export.py runs/stargan --out stargan_G.onnx --int8 --calibrate data/celeba --table table.md

Files take float32 RGB pictures (N, 3, H, W) scaled to (pixel - 127.5) / 127.5, any N, and say so in their metadata.
fp32 is compared with PyTorch, fp16 and int8 with fp32, before a file is given its name. A generator of
launch/stargan.py takes `image` (N, 3, S, S) scaled alike and `labels` (N, attributes), 0 or 1.
"""

import argparse
import sys
from pathlib import Path

from generation.exporting.commands import stargan_checkpoint_at, write_generator
from generation.exporting.pictures import PICTURES as OF_FACES
from recognition.command import run_command
from recognition.errors import InputError
from recognition.export.calibration import PICTURES
from recognition.export.commands import check, compare, write_files
from recognition.export.comparison import REPEATS
from recognition.export.onnx_file import OPSET
from recognition.export.precisions import PRECISIONS
from recognition.runtime import usable_cores


def main() -> None:
    """Parse the command line and do what it asks for; exit code 1 when --check finds a rule broken."""
    given = parse()
    if given.check and not check(given):
        sys.exit(1)
    if given.compare:
        compare(given)
    if given.compare or given.check:
        return
    checkpoint = stargan_checkpoint_at(given.model)
    if checkpoint is not None:
        write_generator(given, checkpoint)
    else:
        write_files(given)


def parse() -> argparse.Namespace:
    """The command line; InputError for what does not go together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model", type=Path, help="run directory, checkpoint, .safetensors, or .pt / .pth of arcface_torch")
    add("--network", help="architecture of a .pt whose weights do not tell it, e.g. r50")
    add("--out", type=Path, metavar="FILE.onnx", help="file to write; other precisions become FILE-int8.onnx")
    add("--precision", nargs="+", choices=PRECISIONS, metavar="P", help=f"of {', '.join(PRECISIONS)} (default: fp32)")
    add("--int8", action="store_true", help="short for --precision fp32 int8")
    add("--opset", type=int, default=OPSET, metavar="N", help="operators of ONNX to write in (default: %(default)s)")
    add("--calibrate", metavar="DATA", help="pictures that int8 learns its ranges by: anything that rec= takes")
    add("--calibration-pictures", type=int, metavar="N", help=f"how many (default: {PICTURES}; generators: {OF_FACES})")
    add("--any-size", action="store_true", help="generators: pictures of any sides that are multiples of 4")
    add("--no-ema", action="store_true", help="generators: as trained, not the moving average")
    add("--recogniser", metavar="RUN", help="generators: tells people apart, for identity and face-FID in the table")
    add("--inception", type=Path, metavar="FILE", help="generators: the published Inception's weights, for FID")
    add("--hub", type=Path, metavar="DIR", help="model folder as on Hugging Face: weights, configs, card")
    add("--license", default="unknown", help="what the card says, e.g. mit (default: unknown)")
    add("--datasets", nargs="+", metavar="NAME", help="training sets on Hugging Face, for the card")
    add("--report", type=Path, metavar="report.json", help="figures for the card (default: the run's own)")
    add("--compare", type=Path, nargs="+", metavar="B.onnx", help="measure MODEL.onnx and these side by side")
    add("--targets", nargs="+", metavar="A.bin", help="pair sets: add accuracies to the table")
    add("--table", type=Path, metavar="FILE.md", help="write the table, and as FILE.json")
    add("--check", action="store_true", help="check MODEL.onnx by the rules of challenges such as MFR")
    add("--max-ms", type=float, metavar="MS", help="--check: most time for one picture (default: only measured)")
    add("--max-embedding", type=int, default=512, metavar="N", help="--check: longest embedding (default: 512)")
    add("--image-size", type=int, default=112, metavar="S", help="--check: side of the pictures (default: 112)")
    add("--json", type=Path, metavar="FILE.json", help="--check: write the verdicts")
    cores = usable_cores()
    add("--threads", type=int, default=cores, metavar="N", help=f"of the CPU for timing (default: all, {cores})")
    add("--repeats", type=int, default=REPEATS, metavar="N", help=f"of timing, the fastest counts (default: {REPEATS})")
    given = parser.parse_args()
    if not (given.out or given.hub or given.compare or given.check):
        parser.error("say what to do: --out FILE.onnx, --hub DIR, --compare B.onnx or --check")
    if (given.out or given.hub) and (given.compare or given.check):
        parser.error("--compare and --check take an ONNX file, --out and --hub make one: use one command for each")
    if given.int8:
        if given.precision:
            parser.error("--int8 is short for --precision fp32 int8: give one of the two")
        given.precision = ["fp32", "int8"]
    if min(given.threads, given.repeats, 1 if given.calibration_pictures is None else given.calibration_pictures) < 1:
        parser.error("--threads, --repeats and --calibration-pictures must be at least 1")
    for option, path, suffix in (("--out", given.out, ".onnx"), ("--table", given.table, ".md")):
        if path and path.suffix != suffix:
            raise InputError(f"{option} {path} must end in {suffix}")
    return given


if __name__ == "__main__":
    run_command(main)
