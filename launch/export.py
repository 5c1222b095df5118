"""Export a trained backbone to ONNX, checked against PyTorch before the file is given its name.

    python launch/export.py runs/first --out model.onnx
    python launch/export.py backbone.pth --network r50 --out model.onnx

The file takes float32 RGB pictures (N, 3, H, W) scaled to (pixel - 127.5) / 127.5, any N, and says so in its metadata.
"""

import argparse
from pathlib import Path

from recognition.command import run_command
from recognition.errors import InputError
from recognition.export.onnx_file import BATCHES, export_onnx
from recognition.weights import load_backbone


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", type=Path, help="run directory, checkpoint, .safetensors, or .pt / .pth of arcface_torch"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="file to write")
    parser.add_argument("--network", help="architecture of a .pt whose weights do not tell it, e.g. r50")
    arguments = parser.parse_args()
    if arguments.out.suffix != ".onnx":
        raise InputError(f"--out {arguments.out} must end in .onnx")
    if arguments.model.suffix == ".onnx":
        raise InputError(f"{arguments.model} is an ONNX file already")
    module, meta = load_backbone(arguments.model, arguments.network)
    difference = export_onnx(module, arguments.out, meta)
    batches = ", ".join(map(str, BATCHES))
    print(f"{arguments.out}: {meta['network']}, {arguments.out.stat().st_size / 1e6:.1f} MB; ", end="")
    print(f"differs from PyTorch by at most {difference:.1e} (relative) at batches {batches}")


if __name__ == "__main__":
    run_command(main)
