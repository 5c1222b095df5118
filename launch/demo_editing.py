"""Faces with other attributes, in minutes, on a CPU, with people who do not exist: nothing is downloaded.

    python launch/demo_editing.py [--out demo/editing]

A generator learns to change the hair and the features of drawn people. Networks that were trained apart judge its edits
of people it has not seen; another one parses faces, so that an edit can be laid back where it belongs. The generator
becomes ONNX in float32 and 8 bits, with a table of what that costs. Each step is an ordinary command, printed before it
runs.
"""

import argparse
import time
from pathlib import Path

from generation.demo.recogniser import TRAIN
from recognition.command import run_command
from recognition.demonstration import command, side_by_side

SIDE = 64
ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
FACES = ("--pictures", 2400, "--size", SIDE, "--masks")
GENERATOR = (
    *("--selected_attrs", *ATTRIBUTES, "--image_size", SIDE, "--g_conv_dim", 16, "--d_conv_dim", 24),
    *("--g_repeat_num", 2, "--d_repeat_num", 4, "--residual", "--lambda_rec", 1, "--lambda_keep", 3, "--n_critic", 1),
    *("--g_lr", 6e-4, "--d_lr", 6e-4, "--ema_decay", 0.99, "--num_epochs", 3, "--save_interval", 1),
    *("--threads", 1, "--num_workers", 1),
)
PARSER = (
    *("--image_size", SIDE, "--width", 12, "--enlarge", 4, "--batch_size", 8, "--steps", 300, "--plain"),
    *("--optimizer", "adamw", "--lr", 6e-3, "--head_lr_factor", 1, "--warmup_steps", 20, "--eval_every", 150),
    *("--threads", 1, "--num_workers", 1),
)
SHOWN = 8  # pictures that are parsed, analysed and edited at the end


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo/editing"), help="folder (default: demo/editing)")
    parser.add_argument("--seed", type=int, default=0, help="of people, weights and order (default: 0)")
    given = parser.parse_args()
    started, out, seed = time.perf_counter(), given.out, ("--seed", given.seed)
    faces, run, parsing, recogniser = (out / name for name in ("faces", "stargan", "parsing", "recogniser"))
    masks = faces / "masks"
    judge, onnx = out / "judge.safetensors", out / "onnx" / "stargan_G.onnx"
    command("edits.py", "draw", faces, *FACES, *seed)
    side_by_side(
        generator=[("stargan.py", "--data_dir", faces, "--masks", masks, *GENERATOR, "--save_dir", run, *seed)],
        others=[
            ("edits.py", "judge", faces, judge, "--attrs", *ATTRIBUTES, "--size", SIDE, "--steps", 600, *seed),
            (*TRAIN, f"seed={given.seed}", f"output={recogniser}"),
            ("parsing.py", "train", "--data_dir", faces, *PARSER, "--save_dir", parsing, *seed),
        ],
    )
    judges = ("--judge", judge, "--recogniser", recogniser, "--threads", 1)
    measured = ("--recogniser", recogniser, "--threads", 1, "--table", onnx.with_name("table.md"))
    side_by_side(
        report=[("edits.py", "report", run, "--data", faces, *judges, "--max_pictures", 100, "--out", out / "report")],
        export=[("export.py", run, "--out", onnx, "--int8", "--calibrate", faces, *measured)],
    )
    command("parsing.py", "evaluate", parsing, faces, "--json", out / "parsed.json", "--sheet", out / "parsed.png")
    photos, edited, analysed = (out / name for name in ("photos", "edited", "analysed"))
    command("edits.py", "draw", photos, "--pictures", SHOWN, "--size", 160, "--seed", given.seed + 1)
    wanted = ("--set", "Blond_Hair=1", "--judge", judge, "--parser", parsing)
    command("edits.py", "edit", run, photos / "images", *wanted, "--out", edited)
    models = ("--detector", photos / "faces.json", "--parser", parsing, "--recogniser", recogniser)
    command("analyze.py", photos / "images", "--out", analysed, *models)
    print(f"\ndone in {time.perf_counter() - started:.0f} s")
    print(f"edits:       {out / 'report' / 'index.html'}")
    print(f"parsing:     {out / 'parsed.png'}")
    print(f"analysis:    {analysed / 'index.html'}")
    print(f"ONNX files:  {onnx.with_name('table.md')}")


if __name__ == "__main__":
    run_command(main)
