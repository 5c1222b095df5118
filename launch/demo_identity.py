"""What an identity loss is worth, in minutes, on a CPU, with people who do not exist: nothing is downloaded.

    python launch/demo_identity.py [--out demo/identity]

Two recognisers, a VAE and a transformer are trained on drawn people; two LoRA runs then teach the transformer sixteen
others, one with the identity loss and one without; the recogniser that neither run has seen judges. Each step is an
ordinary command, printed before it runs.
"""

import argparse
import time
from pathlib import Path

from generation.demo.recogniser import TRAIN
from recognition.command import run_command
from recognition.demonstration import command, side_by_side


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo/identity"), help="folder (default: demo/identity)")
    parser.add_argument("--weight", type=float, default=0.1, help="of the identity loss (default: 0.1)")
    parser.add_argument("--seed", type=int, default=0, help="of people, weights and noise (default: 0)")
    given = parser.parse_args()
    started = time.perf_counter()
    out, seed = given.out, given.seed
    people, base = out / "people", out / "base"
    first, second = out / "recogniser", out / "held_out"
    side_by_side(
        models=[
            ("-m", "generation.demo.dataset", people, "--seed", seed),
            ("-m", "generation.demo.base", base, "--seed", seed),
        ],
        recognisers=[
            (*TRAIN, f"seed={seed}", f"output={first}"),
            # Another network, trained on other people: what pleases the first alone does not please it.
            (*TRAIN, f"seed={seed + 1}", "network=mbf_tiny", f"output={second}"),
        ],
    )
    lora = [
        *("lora.py", "configs/lora_demo.py", f"data={people / 'faces.jsonl'}", f"detector={people / 'boxes.json'}"),
        *(f"transformer={base / 'transformer'}", f"vae={base / 'vae'}", f"seed={seed}"),
        *(f"arcface_weights={first}", f"held_out_recogniser={second}"),
    ]
    runs = {"without": (out / "without", 0), "with": (out / "with", given.weight)}
    side_by_side(
        **{name: [(*lora, f"face_loss_weight={weight}", f"output={run}")] for name, (run, weight) in runs.items()}
    )
    report = out / "report"
    command(*("-m", "generation.demo.likeness", out / "without", out / "with", "--people", people, "--out", report))
    print(f"\ndone in {time.perf_counter() - started:.0f} s")
    print(f"report:  {report / 'index.html'}")
    print(f"runs:    {out / 'without'} and {out / 'with'}, with reports of their own")


if __name__ == "__main__":
    run_command(main)
