"""The same face at another angle, in minutes, on a CPU, with people who do not exist: nothing is downloaded.

    python launch/demo_pose.py [--out demo/pose]

Two generators learn to turn drawn people, at equal budget: one through a vector, one that keeps places. A report
compares them on people they have not seen. Then the better one turns the faces of people who are known from the front
alone, and two recognisers, trained with and without these, are verified on profiles. Each step is an ordinary command,
printed before it runs.
"""

import argparse
import time
from pathlib import Path

from generation.demo.pose_sets import BINS, FRONTAL, PAIRS_FOLDER, PEOPLE, PICTURES
from generation.demo.recogniser import SIDE, TRAIN
from recognition.command import run_command
from recognition.demonstration import command, side_by_side

FACES = ("--people", 400, "--frames", 8, "--size", SIDE)
MODEL = (
    *("--image_size", SIDE, "--feature_dim", 256, "--generator_width", 16, "--num_control_layers", 4),
    *("--epochs", 5, "--lr", 1e-3, "--loss_type", "combined", "--save_interval", 5, "--threads", 1, "--num_workers", 1),
)
YAWS = (-65, -45, 45, 65)
IMAGES, WARM_UP_IMAGES = 20_000, 1_600  # that each of the two recognisers sees, in all and while its lr rises


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo/pose"), help="folder (default: demo/pose)")
    parser.add_argument("--seed", type=int, default=0, help="of people, weights and order (default: 0)")
    given = parser.parse_args()
    started, out, seed = time.perf_counter(), given.out, ("--seed", given.seed)
    faces, sets, judge, turned = out / "faces", out / "sets", out / "judge.safetensors", out / "turned"
    encoder, held_out = out / "recogniser", out / "held_out"
    command("poses.py", "draw", faces, *FACES, *seed)
    side_by_side(
        models=[
            (*TRAIN, f"seed={given.seed}", f"output={encoder}"),
            ("poses.py", "judge", faces, judge, "--size", SIDE, *seed),
        ],
        others=[
            # Another network, trained on other people: it has had no part in the pictures that it judges.
            (*TRAIN, f"seed={given.seed + 1}", "network=mbf_tiny", f"output={held_out}"),
            ("-m", "generation.demo.pose_sets", sets, "--workers", 1, *seed),
        ],
    )
    models = {kind: out / kind for kind in ("spatial", "vector")}
    train = ("controlnet.py", "--data_dir", faces, "--recogniser", encoder, *MODEL, *seed)
    side_by_side(
        **{
            kind: [(*train, "--generator", kind, "--save_dir", folder, "--log_dir", folder / "logs")]
            for kind, folder in models.items()
        }
    )
    best = [folder / "best_model.pth" for folder in models.values()]
    judges = ("--recogniser", held_out, "--pose_judge", judge, "--threads", 1)
    side_by_side(
        report=[("poses.py", "report", *best, "--data_dir", faces, *judges, "--out", out / "report")],
        turning=[("poses.py", "rotate", best[0], sets / FRONTAL, turned, "--yaws", *YAWS, "--threads", 1)],
    )
    originals = PEOPLE * PICTURES
    runs = {"without": (sets / FRONTAL, originals), "with": (turned, originals * (1 + len(YAWS)))}
    targets = [sets / PAIRS_FOLDER / f"{name}.bin" for name in BINS]
    verified = (f"val_targets={','.join(BINS)}", f"val_dir={sets / PAIRS_FOLDER}", f"seed={given.seed}")
    side_by_side(
        **{
            name: [(*TRAIN, *budget(count), f"rec={rec}", f"num_classes={PEOPLE}", *verified, f"output={out / name}")]
            for name, (rec, count) in runs.items()
        }
    )
    command("verify.py", out / "with", out / "without", "--targets", *targets, "--out", out / "profiles")
    print(f"\ndone in {time.perf_counter() - started:.0f} s")
    print(f"turned faces:       {out / 'report' / 'index.html'}")
    print(f"what they are for:  {out / 'profiles' / 'index.html'}")


def budget(num_image: int) -> tuple[str, str, str]:
    """Settings with which sets of any size are trained on for the same steps, at the same learning rates."""
    epochs = {"num_epoch": IMAGES / num_image, "warmup_epoch": WARM_UP_IMAGES / num_image}
    return f"num_image={num_image}", *(f"{key}={value}" for key, value in epochs.items())


if __name__ == "__main__":
    run_command(main)
