"""IJB-B's and IJB-C's lists, as InsightFace gives them out: which picture is in which template, and what to compare.

Relied on (eval_ijbc.py and its like read the same): in FOLDER/meta
PREFIX_name_5pts_score.txt      `1.jpg x1 y1 ... x5 y5 score`, a line a picture; pictures in FOLDER/loose_crop
PREFIX_face_tid_mid.txt         `1.jpg template media`, in the same order
PREFIX_template_pair_label.txt  `template template 1|0`
PREFIX_1N_gallery_*.csv (two), PREFIX_1N_probe_mixed.csv    a header, then TEMPLATE_ID,SUBJECT_ID,...
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.errors import InputError

GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}
CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class Faces:
    """N pictures: `names`, five points float32 (N, 5, 2) in pixels, detector scores (N,), template and media ids."""

    names: list[str]
    points_N52: np.ndarray
    score_N: np.ndarray
    template_N: np.ndarray
    media_N: np.ndarray


@dataclass(frozen=True)
class TemplatePairs:
    """P comparisons: template ids int64 (P,), and whether they show one person, bool (P,)."""

    first_P: np.ndarray
    second_P: np.ndarray
    issame_P: np.ndarray


@dataclass(frozen=True)
class Subjects:
    """Distinct templates and whose they are, int64 (T,) each."""

    template_T: np.ndarray
    subject_T: np.ndarray


def read_faces(folder: Path, prefix: str) -> Faces:
    """Pictures with points and scores, and their templates; InputError naming the line that is not as published."""
    meta = Path(folder) / "meta"
    points_file, media_file = meta / f"{prefix}_name_5pts_score.txt", meta / f"{prefix}_face_tid_mid.txt"
    names, numbers = _named_columns(points_file, 11)
    other_names, ids = _named_columns(media_file, 2)
    if len(names) != len(other_names):
        raise InputError(
            f"{points_file} has {len(names)} pictures and {media_file} {len(other_names)}; unpack the archive again"
        )
    wrong = next((k for k, (one, other) in enumerate(zip(names, other_names)) if one != other), None)
    if wrong is not None:
        raise InputError(
            f"{media_file}: line {wrong + 1} is {other_names[wrong]}, but that of {points_file.name} is {names[wrong]}"
        )
    points_N52 = numbers[:, :10].reshape(-1, 5, 2).astype(np.float32)
    return Faces(names, points_N52, numbers[:, 10].astype(np.float32), *ids.T.astype(np.int64))


def read_template_pairs(folder: Path, prefix: str) -> TemplatePairs:
    """All comparisons, 15.7 million for IJB-C, read in pieces; InputError naming a file that is not as published."""
    path = Path(folder) / "meta" / f"{prefix}_template_pair_label.txt"
    rows = [_whole_numbers(path, piece) for piece in _pieces(path)]
    table_P3 = np.concatenate(rows) if rows else np.empty((0, 3), np.int64)
    first_P, second_P, label_P = table_P3.T
    if not np.isin(label_P, (0, 1)).all() or not len(label_P):
        raise InputError(f"{path}: holds no lines `template template 1|0`; unpack the archive again")
    return TemplatePairs(first_P, second_P, label_P == 1)


def read_subjects(path: Path) -> Subjects:
    """The templates of a 1:N list with their subjects, ascending; InputError naming the line that is no such row."""
    owner: dict[int, int] = {}
    for number, line in enumerate(_lines(path)[1:], 2):
        fields = line.split(",")
        if not line.strip():
            continue
        if len(fields) < 2 or not (fields[0].strip().isdecimal() and fields[1].strip().isdecimal()):
            raise InputError(f"{path}: line {number} is {line[:60]!r}; expected TEMPLATE_ID,SUBJECT_ID,...")
        template, subject = int(fields[0]), int(fields[1])
        if owner.setdefault(template, subject) != subject:
            raise InputError(f"{path}: line {number} gives template {template} to another subject than before")
    if not owner:
        raise InputError(f"{path}: holds no templates; unpack the archive again")
    template_T = np.array(sorted(owner))
    return Subjects(template_T, np.array([owner[template] for template in template_T.tolist()]))


def search_lists(folder: Path, prefix: str) -> tuple[list[Subjects], Subjects] | None:
    """Both galleries and the mixed probes of the 1:N test; None where none of the lists is there."""
    meta = Path(folder) / "meta"
    galleries = [meta / f"{prefix}_1N_gallery_{name}.csv" for name in GALLERIES[prefix]]
    probes = meta / f"{prefix}_1N_probe_mixed.csv"
    if not any(path.exists() for path in (*galleries, probes)):
        return None
    return [read_subjects(path) for path in galleries], read_subjects(probes)


def _named_columns(path: Path, columns: int) -> tuple[list[str], np.ndarray]:
    """Names, and the numbers after them, float64 (N, columns)."""
    names, texts = [], []
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != columns + 1:
            raise InputError(f"{path}: line {number} is {line[:60]!r}; expected a name and {columns} numbers")
        names.append(fields[0])
        texts.append(fields[1:])
    try:
        numbers = np.array(texts, np.float64).reshape(len(names), columns)
    except ValueError as error:
        raise InputError(f"{path}: has something else than numbers after a name ({error})") from error
    if not names or not np.isfinite(numbers).all():
        raise InputError(f"{path}: holds no pictures, or numbers that are not finite; unpack the archive again")
    return names, numbers


def _pieces(path: Path) -> list[bytes]:
    """The file in pieces of whole lines."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); unpack the archive again") from error
    pieces, start = [], 0
    while start < len(content):
        end = content.find(b"\n", min(start + CHUNK_BYTES, len(content)))
        end = len(content) if end < 0 else end + 1
        pieces.append(content[start:end])
        start = end
    return pieces


def _whole_numbers(path: Path, piece: bytes) -> np.ndarray:
    """The lines of a piece as int64 (n, 3); numpy reads fast but takes any layout, so lines are counted."""
    try:
        numbers = np.fromstring(piece, np.int64, sep=" ")
    except ValueError:
        numbers = np.empty(0, np.int64)
    lines = sum(1 for line in piece.split(b"\n") if line.strip())
    if len(numbers) != 3 * lines:
        raise InputError(f"{path}: has lines that are not `template template 1|0`; unpack the archive again")
    return numbers.reshape(-1, 3)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); unpack the archive again") from error
