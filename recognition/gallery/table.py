"""Tables of embeddings: Parquet, or NumPy with a CSV beside it; written part by part, read into memory maps.

A row is a face. Columns: path, label, norm (length of the embedding before it was normalised), score, box (x1, y1,
x2, y2) and points (five times x, y), both in pixels of the photo, and the embedding, float32, of length 1. Facts of the
model and the preprocessing are JSON in the Parquet schema (key "arcscale"), or in NAME.json.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from recognition.atomic import replacing, write_text
from recognition.errors import InputError
from recognition.gallery.parts import Part
from recognition.weights import META_KEY

COLUMNS = ("path", "label", "norm", "score", "box", "points")
SUFFIXES = (".parquet", ".npy")


@dataclass(frozen=True)
class Table:
    """N unit embeddings float32 (N, D) with their paths and labels, and the facts of the model that made them."""

    emb_ND: np.ndarray
    paths: list[str]
    labels: list[str]
    facts: dict[str, Any]


def require_table_path(out: Path) -> None:
    """InputError unless the name says which form the table has, and that form can be written here."""
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: a table is a .parquet or an .npy file; name it so")
    if out.suffix == ".parquet":
        _pyarrow(out)


def write_table(out: Path, parts: Iterable[Part], facts: dict[str, Any]) -> tuple[int, int]:
    """Write the table and NAME-failures.csv; numbers of rows and failures. InputError when there is no row at all."""
    rows, failures = (_write_parquet if out.suffix == ".parquet" else _write_numpy)(out, parts, facts)
    with replacing(_beside(out, "-failures.csv")) as partial:
        _write_csv(partial, ("path", "reason"), failures)
    if not rows:
        raise InputError(f"{out}: not one photo could be used; {_beside(out, '-failures.csv')} says why")
    return rows, len(failures)


def open_table(path: Path) -> Table:
    """Read a table that `write_table` wrote; InputError for a file that is none, or is damaged."""
    if not path.is_file():
        raise InputError(f"table {path} does not exist; launch/embed.py MODEL FOLDER --out {path} makes one")
    table = (_read_parquet if path.suffix == ".parquet" else _read_numpy)(path)
    if table.emb_ND.dtype != np.float32 or not isinstance(table.facts, dict):
        raise InputError(f"{path}: its embeddings are no float32 numbers, or its facts no JSON object; make it again")
    if table.emb_ND.ndim != 2 or not (len(table.emb_ND) == len(table.paths) == len(table.labels)):
        raise InputError(
            f"{path}: {table.emb_ND.shape} embeddings do not fit its {len(table.paths)} rows; make it again"
        )
    return table


def model_sha256(facts: dict[str, Any]) -> str | None:
    """What tells the model's weights from others: their hash, else that of the file."""
    return facts.get("sha256") or facts.get("file_sha256")


def _write_parquet(out: Path, parts: Iterable[Part], facts: dict[str, Any]) -> tuple[int, list[tuple[str, str]]]:
    pa, pq = _pyarrow(out)
    rows, failures = 0, []
    some = _with_rows(parts, failures)
    first = next(some, None)
    if first is None:  # a table that is there already stays
        return 0, failures
    dim = first.emb_ND.shape[1]
    kinds = (pa.string(), pa.string(), pa.float32(), pa.float32())
    boxes = [("box", pa.list_(pa.float32())), ("points", pa.list_(pa.float32()))]
    schema = pa.schema([*zip(COLUMNS, kinds), *boxes, ("embedding", pa.list_(pa.float32(), dim))])
    schema = schema.with_metadata({META_KEY: json.dumps(facts)})
    try:
        with replacing(out) as partial, pq.ParquetWriter(partial, schema) as writer:
            for part in chain([first], some):
                embedding = pa.FixedSizeListArray.from_arrays(pa.array(part.emb_ND.reshape(-1)), dim)
                names = [_utf8(path) for path in part.paths], [_utf8(label) for label in part.labels]
                faces = [[getattr(face, key) for face in part.faces] for key in ("score", "box", "points")]
                arrays = [*names, part.norm_N, *faces]
                columns = [pa.array(values, field.type) for values, field in zip(arrays, schema)]
                writer.write_table(pa.table([*columns, embedding], schema=schema))
                rows += len(part.paths)
    except pa.ArrowException as error:
        raise InputError(f"{out}: could not be written ({error})") from error
    return rows, failures


def _write_numpy(out: Path, parts: Iterable[Part], facts: dict[str, Any]) -> tuple[int, list[tuple[str, str]]]:
    failures = []
    kept = list(_with_rows(parts, failures))
    if not kept:
        return 0, failures
    rows = sum(len(part.paths) for part in kept)
    with replacing(out) as partial:
        stored = np.lib.format.open_memmap(partial, "w+", np.float32, (rows, kept[0].emb_ND.shape[1]))
        place = 0
        for part in kept:
            stored[place : place + len(part.paths)] = part.emb_ND
            place += len(part.paths)
        stored.flush()
    with replacing(_beside(out, ".csv")) as partial:
        _write_csv(partial, COLUMNS, (row for part in kept for row in _csv_rows(part)))
    write_text(_beside(out, ".json"), json.dumps(facts, indent=1) + "\n")
    return rows, failures


def _with_rows(parts: Iterable[Part], failures: list[tuple[str, str]]) -> Iterator[Part]:
    """The parts that have rows; the failures of all are added to `failures` on the way."""
    for part in parts:
        failures += part.failures
        if part.paths:
            yield part


def _csv_rows(part: Part) -> Iterable[tuple]:
    for path, label, norm, face in zip(part.paths, part.labels, part.norm_N.tolist(), part.faces):
        box, points = (" ".join(f"{value:.3f}" for value in values or ()) for values in (face.box, face.points))
        yield path, label, f"{norm:.6g}", "" if face.score is None else f"{face.score:.4f}", box, points


def _write_csv(path: Path, head: tuple[str, ...], rows: Iterable[tuple]) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _read_parquet(path: Path) -> Table:
    pa, pq = _pyarrow(path)
    try:
        stored = pq.read_table(path, columns=["path", "label", "embedding"], memory_map=True)
        facts = json.loads((stored.schema.metadata or {}).get(META_KEY.encode(), b"{}"))
        embedding = stored["embedding"].combine_chunks()
        if not pa.types.is_fixed_size_list(embedding.type):
            raise InputError(f"{path}: its embeddings are no vectors of one length; make it with launch/embed.py")
        emb_ND = embedding.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        emb_ND = emb_ND.reshape(-1, embedding.type.list_size)
        return Table(emb_ND, stored["path"].to_pylist(), stored["label"].to_pylist(), facts)
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is no table of embeddings, or is damaged ({reason}); make it again") from error


def _read_numpy(path: Path) -> Table:
    rows_file, facts_file = _beside(path, ".csv"), _beside(path, ".json")
    try:
        emb_ND = np.lib.format.open_memmap(path, "r")
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
        with open(rows_file, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = [(row["path"], row["label"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, EOFError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(
            f"{path}: cannot be read with {rows_file.name} and {facts_file.name} beside it ({reason}); make it again"
        ) from error
    return Table(emb_ND, [row[0] for row in rows], [row[1] for row in rows], facts)


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(out.stem + ending)


def _utf8(text: str) -> str:
    """Parquet holds UTF-8 alone: bytes of file names that are none are written out."""
    return text.encode("utf-8", "backslashreplace").decode() if not text.isascii() else text


def _pyarrow(path: Path):  # noqa: ANN202 - two modules
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: Parquet takes pyarrow; pip install -e '.[search]', or name the table .npy"
        ) from error
    return pyarrow, pyarrow.parquet
