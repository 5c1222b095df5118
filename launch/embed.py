"""Folders of photos -> a table of embeddings; and who in a table is nearest.

    python launch/embed.py runs/first PHOTOS --detector yunet.onnx --out gallery.parquet
    python launch/embed.py index gallery.parquet --out gallery.faiss
    python launch/embed.py query gallery.parquet who.jpg --model runs/first --detector yunet.onnx --index gallery.faiss

A table is .parquet or .npy (with .csv and .json beside it): path, label (the folder's name), norm, detector score, box,
points, embedding of length 1. Without --detector the pictures are aligned faces of the model's size. Photos that cannot
be used are in NAME-failures.csv. Stopped, it goes on where it was; torchrun shares the work out. `index` and `query`
explain themselves with -h.
"""

import argparse
import sys
from pathlib import Path

from recognition.command import run_command
from recognition.embedding.models import open_embedder
from recognition.gallery.commands import add_faces, add_model, aligner_of, index_command, opened, query_command
from recognition.gallery.embedding import embed_photos
from recognition.gallery.photos import open_photos
from recognition.gallery.table import require_table_path
from recognition.runtime import start_runtime

COMMANDS = {"index": index_command, "query": query_command}


def main() -> None:
    """Embed, or do what the first word says."""
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        COMMANDS[sys.argv[1]](sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="run directory, checkpoint or model file; or the word index or query")
    parser.add_argument("photos", type=Path, help="folder of pictures at any depth, or whatever rec= takes")
    parser.add_argument("--out", type=Path, required=True, metavar="TABLE", help=".parquet or .npy to write")
    add_model(parser)
    add_faces(parser)
    given = parser.parse_args()
    require_table_path(given.out)
    with start_runtime(given.device) as runtime:
        model = open_embedder(given.model, device=runtime.device, **opened(given))
        aligner, photos = aligner_of(given, model), open_photos(given.photos)
        facts = {
            "model": model.facts,
            "photos_of": str(given.photos),
            "detector": None if aligner is None else repr(aligner.detector),
            "face": given.face,
            "min_score": given.min_score,
            "min_size": given.min_size,
        }
        made = embed_photos(
            model, photos, given.out, facts=facts, aligner=aligner, runtime=runtime, batch_size=given.batch_size
        )
        if runtime.is_main:
            earlier = f" ({made.parts_found} parts were there from before)" if made.parts_found else ""
            print(f"{given.out}: {made.rows} faces of {len(photos)} photos{earlier}")
            if made.failures:
                print(f"note: {made.failures} could not be used; {given.out.stem}-failures.csv says why")


if __name__ == "__main__":
    run_command(main)
