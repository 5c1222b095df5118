"""What launch/embed.py's `index` and `query` take and print, and the arguments that it shares with them."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recognition.atomic import write_text
from recognition.embedding.files import square_side
from recognition.embedding.models import Embedder, open_embedder
from recognition.embedding.preprocess import recipes_help
from recognition.errors import InputError
from recognition.faces.alignment import SIZE
from recognition.faces.opening import open_detector
from recognition.faces.photos import CHOICES, FAINT_SCORE, LARGEST, Aligner
from recognition.gallery.index import KINDS, build_index, open_index, write_index
from recognition.gallery.query import Answer, answers_of, query_photos, require_same_model, threshold_of_report
from recognition.gallery.table import Table, open_table
from recognition.runtime import start_runtime


def add_model(parser: argparse.ArgumentParser) -> None:
    """How a model is opened and fed."""
    parser.add_argument("--network", help="architecture of a .pt whose weights do not tell it, e.g. r50")
    parser.add_argument("--preprocess", metavar="RECIPE", help="how pictures are prepared (default: as the model says)")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures at a time on each rank (default: 64)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.epilog = "preprocessing (--preprocess):\n" + recipes_help()


def add_faces(parser: argparse.ArgumentParser) -> None:
    """How the face of a photo is found."""
    parser.add_argument("--detector", type=Path, metavar="ONNX", help="YuNet or SCRFD (default: pictures are aligned)")
    parser.add_argument("--face", choices=CHOICES, default=LARGEST, help="which one of several (default: largest)")
    parser.add_argument("--min-score", type=float, default=0.6, help="the detector's, 0.3 to 1 (default: 0.6)")
    parser.add_argument("--min-size", type=int, default=32, help="pixels of the face's shorter side (default: 32)")


def opened(given: argparse.Namespace) -> dict[str, Any]:
    """What `add_model` says, for open_embedder."""
    return {"network": given.network, "preprocess": given.preprocess}


def aligner_of(given: argparse.Namespace, model: Embedder) -> Aligner | None:
    """What `add_faces` says, for faces of the model's size; None without a detector."""
    if given.detector is None:
        return None
    side = square_side(model.size or (SIZE, SIZE))
    detector = open_detector(given.detector, min_score=FAINT_SCORE)
    return Aligner(detector, given.face, given.min_score, given.min_size, size=side)


def index_command(words: list[str]) -> None:
    """Build an index of a table."""
    parser = argparse.ArgumentParser("embed.py index", description="An index of a table, for galleries of millions.")
    parser.add_argument("table", type=Path, help=".parquet or .npy that launch/embed.py made")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.faiss", help="index to write, with a .json")
    parser.add_argument("--kind", choices=KINDS, help="flat: exact; hnsw: a graph (default: flat up to 200,000 rows)")
    given = parser.parse_args(words)
    if given.out.suffix != ".faiss":
        raise InputError(f"--out {given.out}: name the index .faiss; its facts go into the .json beside it")
    index, facts = build_index(open_table(given.table), given.kind)
    facts = write_index(given.out, index, facts)
    print(
        f"{given.out}: {facts.kind}, {facts.rows:,} rows, {facts.memory_mb:.0f} MB in memory, recall@10 against an "
        f"exact search {facts.recall_at_10:.4f}"
    )


def query_command(words: list[str]) -> None:
    """Look photos, or rows of the table, up in a table."""
    parser = argparse.ArgumentParser(
        "embed.py query",
        description="Who in a table is nearest to the face in each photo, or to a row of the table itself.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", type=Path, help=".parquet or .npy that launch/embed.py made")
    parser.add_argument("photos", nargs="*", help="photos to look for")
    parser.add_argument("--row", type=int, action="append", default=[], help="look for that row of the table (from 0)")
    parser.add_argument("--model", type=Path, help="the model that made the table; needed for photos")
    parser.add_argument(
        "--index", type=Path, metavar="FILE.faiss", help="of the table (default: an exact one, made now)"
    )
    parser.add_argument("--k", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--threshold", type=float, help="cosine below which it is nobody (default: none)")
    parser.add_argument("--report", type=Path, metavar="report.json", help="take the threshold from there, at --far")
    parser.add_argument("--far", type=float, default=1e-3, help="false accept rate of that threshold (default: 0.001)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers there, too")
    add_model(parser)
    add_faces(parser)
    given = parser.parse_args(words)
    answers = _answers(given)
    for answer in answers:
        print("\n".join(_shown(answer)))
    if given.json:
        write_text(given.json, json.dumps([asdict(answer) for answer in answers], indent=1) + "\n")


def _answers(given: argparse.Namespace) -> list[Answer]:
    table = open_table(given.table)
    if given.k < 1:
        raise InputError("--k must be at least 1")
    if not given.photos and not given.row:
        raise InputError("nothing to look for: name photos, or a --row of the table")
    if given.photos and given.model is None:
        raise InputError("--model is missing: photos are embedded by the model that made the table")
    threshold = -1.0 if given.threshold is None else given.threshold
    if given.report is not None:
        threshold = threshold_of_report(given.report, given.far, table)
    index = build_index(table)[0] if given.index is None else open_index(given.index, table)[0]
    answers = _of_rows(given, index, table, threshold)
    if given.photos:
        with start_runtime(given.device) as runtime:
            model = open_embedder(given.model, device=runtime.device, **opened(given))
            require_same_model(model, table, given.table)
            aligner = aligner_of(given, model)
            looking = {"aligner": aligner, "runtime": runtime, "most": given.k, "threshold": threshold}
            answers += query_photos(model, given.photos, index, table, **looking)
    return answers


def _of_rows(given: argparse.Namespace, index: Any, table: Table, threshold: float) -> list[Answer]:
    for row in given.row:
        if not 0 <= row < len(table.paths):
            raise InputError(f"--row {row}: the table has rows 0 to {len(table.paths) - 1}")
    if not given.row:
        return []
    names = [f"row {row} ({table.paths[row]})" for row in given.row]
    return answers_of(table.emb_ND[given.row], names, index, table, most=given.k, threshold=threshold)


def _shown(answer: Answer) -> list[str]:
    if answer.failure is not None:
        return [f"{answer.query}: {answer.failure}"]
    if not answer.matches:
        return [f"{answer.query}: nobody"]
    matches = [f"  {match.cosine:.4f}  {match.label or '-'}  {match.path}" for match in answer.matches]
    return [f"{answer.query}:", *matches]
