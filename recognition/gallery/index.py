"""Tables -> FAISS indexes: exact for some hundred thousand rows, a graph (HNSW) for millions, with its recall measured.

An index is a file of FAISS, whose reader trusts what it reads. So NAME.json beside it has the SHA-256 of the file and
of the table's rows, and nothing is opened that differs; the two together come from whoever made them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recognition.atomic import replacing, write_text
from recognition.embedding.network import file_sha256
from recognition.errors import InputError
from recognition.gallery.table import Table

FLAT, HNSW = "flat", "hnsw"
KINDS = (FLAT, HNSW)
EXACT_ROWS = 200_000
LINKS, BUILD_WIDTH, SEARCH_WIDTH = 32, 200, 128
SAMPLE, RECALL_AT = 200, 10


@dataclass(frozen=True)
class IndexFacts:
    """What an index is; `recall_at_10`: share of the exact 10 nearest that it finds, of sampled rows with noise."""

    kind: str
    rows: int
    dim: int
    recall_at_10: float
    memory_mb: float
    rows_sha256: str
    file_sha256: str = ""


def build_index(table: Table, kind: str | None = None) -> tuple[Any, IndexFacts]:
    """An index of the table's rows by inner product, exact up to EXACT_ROWS rows unless `kind` says otherwise."""
    faiss = _faiss()
    rows, dim = table.emb_ND.shape
    kind = kind or (FLAT if rows <= EXACT_ROWS else HNSW)
    emb_ND = np.ascontiguousarray(table.emb_ND, np.float32)
    if kind == FLAT:
        index, memory = faiss.IndexFlatIP(dim), rows * dim * 4
    else:
        index = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = BUILD_WIDTH, SEARCH_WIDTH
        memory = rows * (dim * 4 + LINKS * 2 * 4)
    index.add(emb_ND)
    recall = 1.0 if kind == FLAT else _recall(index, emb_ND)
    return index, IndexFacts(kind, rows, dim, recall, memory / 1e6, rows_sha256(table))


def nearest(index: Any, query_QD: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines float32 (Q, K) and rows int64 (Q, K) of the K nearest, nearest first; K is at most the number of rows."""
    return index.search(np.ascontiguousarray(query_QD, np.float32), min(most, index.ntotal))


def write_index(path: Path, index: Any, facts: IndexFacts) -> IndexFacts:
    """Write the index and its facts beside it."""
    faiss = _faiss()
    with replacing(path) as partial:
        faiss.write_index(index, str(partial))
        facts = IndexFacts(**(asdict(facts) | {"file_sha256": file_sha256(partial)}))
    write_text(path.with_suffix(".json"), json.dumps(asdict(facts), indent=1) + "\n")
    return facts


def open_index(path: Path, table: Table) -> tuple[Any, IndexFacts]:
    """The index at `path`; InputError where it was changed since it was written, or is of another table."""
    faiss, beside = _faiss(), path.with_suffix(".json")
    if not path.is_file():
        raise InputError(f"index {path} does not exist; launch/embed.py index TABLE --out {path} makes one")
    try:
        facts = IndexFacts(**json.loads(beside.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{beside} cannot be read, so {path} is not trusted; build the index again") from error
    if file_sha256(path) != facts.file_sha256:
        raise InputError(f"{path} is not the file that {beside.name} describes; build the index again")
    if rows_sha256(table) != facts.rows_sha256:
        raise InputError(f"{path} was built from another table; build it again")
    return faiss.read_index(str(path)), facts


def rows_sha256(table: Table) -> str:
    """SHA-256 of the embeddings, in blocks."""
    digest = hashlib.sha256(str(table.emb_ND.shape).encode())
    for start in range(0, len(table.emb_ND), 1 << 14):
        digest.update(np.ascontiguousarray(table.emb_ND[start : start + (1 << 14)], np.float32))
    return digest.hexdigest()


def _recall(index: Any, emb_ND: np.ndarray) -> float:
    """Against every row, for queries near sampled ones, as another photo of somebody enrolled is."""
    rng = np.random.default_rng(0)
    query_QD = emb_ND[rng.choice(len(emb_ND), min(SAMPLE, len(emb_ND)), replace=False)]
    query_QD = query_QD + rng.normal(0, 0.5 / np.sqrt(emb_ND.shape[1]), query_QD.shape).astype(np.float32)
    most = min(RECALL_AT, len(emb_ND))
    best_cos, best_row = np.empty((len(query_QD), 0), np.float32), np.empty((len(query_QD), 0), np.int64)
    for start in range(0, len(emb_ND), 1 << 16):
        cos_QN = query_QD @ emb_ND[start : start + (1 << 16)].T
        near_QK = np.argsort(-cos_QN, axis=1)[:, :most]
        best_cos = np.concatenate([best_cos, np.take_along_axis(cos_QN, near_QK, 1)], axis=1)
        best_row = np.concatenate([best_row, near_QK + start], axis=1)
        keep_QK = np.argsort(-best_cos, axis=1)[:, :most]
        best_cos, best_row = (np.take_along_axis(best, keep_QK, 1) for best in (best_cos, best_row))
    _, found = nearest(index, query_QD, most)
    return float(np.mean([len(set(one) & set(other)) / most for one, other in zip(best_row.tolist(), found.tolist())]))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise InputError("searching takes FAISS; pip install -e '.[search]'") from error
    return faiss
