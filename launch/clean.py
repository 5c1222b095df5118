"""Look for wrong labels in a training set, with a recogniser that is trained already.

    python launch/clean.py runs/first /data/faces --out runs/first/clean

The centre of an identity is the mean of its embeddings without those farthest from it. An image nearer to the centre of
another identity is `mislabelled`, one nearest to its own and yet beyond --max-angle is `far`. Two identities whose
centres agree to --duplicate-cos are taken for one person, and their images' mix-ups for `duplicate`.

DIR gets images.csv and identities.csv with the cosines, duplicates.csv, summary.json, and embeddings.npy (1 KB an
image). MODEL is whatever launch/verify.py takes; the angles suit a well-trained one.
"""

import argparse
from pathlib import Path

from recognition.command import run_command
from recognition.data.sources import open_source
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.records.cleaning import Thresholds, embed_source, judge, write_cleanliness
from recognition.runtime import start_runtime


def main() -> None:
    """Embed the set, judge every image, write the tables, print the counts."""
    given = parse()
    thresholds = Thresholds(given.trim, given.max_angle, given.duplicate_cos)
    with start_runtime(given.device) as runtime:
        if runtime.world > 1:
            raise InputError("launch/clean.py runs as one process; start it with python, not torchrun")
        model = open_embedder(given.model, given.network, device=runtime.device)
        source = open_source(given.source)
        emb_ND, labels_N = embed_source(
            model, source, given.out / "embeddings.npy", batch_size=given.batch_size, device=runtime.device
        )
        found = judge(emb_ND, labels_N, source.num_classes, thresholds, device=runtime.device)
        write_cleanliness(given.out, found, source, model.facts)
    for name, value in found.summary().items():
        if name != "thresholds":
            print(f"{name:<20}{value:.4f}" if isinstance(value, float) else f"{name:<20}{value}")
    print(f"tables: {given.out}")


def parse() -> argparse.Namespace:
    """The command line."""
    default = Thresholds()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="run directory, .safetensors, .pt, .pth or .onnx")
    parser.add_argument("source", help="folder with train.rec or a folder per identity, or a .lst file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the tables")
    parser.add_argument("--trim", type=float, default=default.trim, help="share left out of a centre (default: 0.3)")
    parser.add_argument("--max-angle", type=float, default=default.max_angle_deg, help="in degrees (default: 75)")
    parser.add_argument(
        "--duplicate-cos", type=float, default=default.duplicate_cos, help="of two centres (default: 0.7)"
    )
    parser.add_argument("--network", help="architecture of a .pt whose weights do not tell it, e.g. r50")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures at a time (default: 64)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    arguments = parser.parse_args()
    if arguments.batch_size < 1:
        parser.error("--batch-size must be at least 1")
    return arguments


if __name__ == "__main__":
    run_command(main)
