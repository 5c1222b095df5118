"""Which source a user means by `rec`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recognition.data.recordio import NAMES
from recognition.data.sources.arrow import open_parquet, open_saved, saved_files
from recognition.data.sources.drawn import DRAWN, DRAWN_IMAGES
from recognition.data.sources.files import FolderSource, ListSource
from recognition.data.sources.joined import JoinedSource
from recognition.data.sources.record_file import RecordSource
from recognition.data.sources.sample import Source
from recognition.data.sources.shards import expand, rec_entries, shards_in
from recognition.data.sources.tar_shard import TarSource
from recognition.errors import InputError

RECORDS, TAR, PARQUET, SAVED = "record files", "tar shards", "parquet files", "a saved Hugging Face data set"
LIST, FOLDER = "lists", "a folder per identity"
KIND_OF_SUFFIX = {".rec": RECORDS, ".tar": TAR, ".parquet": PARQUET, ".lst": LIST}
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class Found:
    """What one entry of `rec` turned out to be: files (or a folder) of one kind."""

    kind: str
    paths: list[Path]


@dataclass(frozen=True)
class Columns:
    """The columns of a parquet set, by name; None = the one with a usual name."""

    image: str | None = None
    label: str | None = None


def open_source(
    rec: str | Path | Sequence[str | Path],
    *,
    num_classes: int | None = None,
    num_image: int | None = None,
    seed: int = 0,
    image_size: int = 112,
    rec_labels: str = "shared",
    image_column: str | None = None,
    label_column: str | None = None,
) -> Source:
    """The source that `rec` names; configs/base.py has its forms. A list, or `a,b`, joins sets of one kind.

    `rec_labels` "apart": the identities of each entry of `rec`, or of each file of its only one, come after those of
    the entries before. `num_classes` may exceed what the data has, not fall short of it; `num_image`, `seed` and
    `image_size` shape drawn data only, `image_column` and `label_column` belong to parquet and saved sets.
    InputError when nothing is there, nothing is in it, or the number of classes is not known.
    """
    entries = rec_entries(rec)
    if len(entries) == 1 and (drawn := DRAWN.get(entries[0])) is not None:
        if not num_classes:
            raise InputError(f'rec="{drawn.name}" can draw any number of identities; set num_classes')
        return drawn(num_classes=num_classes, num_image=num_image or DRAWN_IMAGES, seed=seed, image_size=image_size)
    source = _open_sets([_find(entry) for entry in entries], rec_labels == "apart", Columns(image_column, label_column))
    shown = entries[0] if len(entries) == 1 else ",".join(entries)
    if source.num_classes is None and not num_classes:
        raise InputError(
            f"{shown}: neither `property` nor identity records say how many identities there are; set num_classes, "
            f"or write `property` beside the records: NUM_CLASSES,{image_size},{image_size}"
        )
    if num_classes and source.num_classes is not None and source.num_classes > num_classes:
        raise InputError(
            f"{shown}: holds {source.num_classes} identities, but num_classes={num_classes}; "
            f"set num_classes={source.num_classes} or leave it out"
        )
    source.num_classes = num_classes or source.num_classes
    return source


def _find(entry: str) -> Found:
    found = [_identify(path) for path in expand(entry)]
    _require_one_kind(found)
    return Found(found[0].kind, [path for each in found for path in each.paths])


def _identify(path: Path) -> Found:
    if path.is_dir():
        return _identify_folder(path)
    if path.name.endswith(COMPRESSED):
        raise InputError(f"{path}: samples of a compressed archive cannot be read in any order; unpack it to a .tar")
    if path.suffix.lower() in (".csv", ".tsv"):
        raise InputError(f"{path}: a table is packed before it is trained on; launch/records.py pack {path} FOLDER")
    if path.suffix not in KIND_OF_SUFFIX:
        raise InputError(
            f"{path}: is neither a .rec nor a .lst, .tar or .parquet file; give one of these, or the folder with them"
        )
    return Found(KIND_OF_SUFFIX[path.suffix], [path])


def _identify_folder(path: Path) -> Found:
    if (path / "train.rec").exists():
        return Found(RECORDS, [path / "train.rec"])
    if (path / "train.idx").exists():
        raise InputError(f"{path}: has train.idx but no train.rec; copy train.rec beside it")
    if (saved := saved_files(path)) is not None:
        return Found(SAVED, saved)
    found = [
        Found(kind, shards)
        for suffix, kind in KIND_OF_SUFFIX.items()
        if suffix != ".lst" and (shards := shards_in(path, suffix))
    ]
    if found:
        _require_one_kind(found)
        return found[0]
    compressed = next((entry for entry in sorted(path.iterdir()) if entry.name.endswith(COMPRESSED)), None)
    return Found(FOLDER, [path]) if compressed is None else _identify(compressed)


def _require_one_kind(found: Sequence[Found]) -> None:
    for other in found[1:]:
        if other.kind != found[0].kind:
            raise InputError(
                f"rec names {found[0].kind} ({found[0].paths[0]}) and {other.kind} ({other.paths[0]}); name sets of "
                "one kind, or bring them into one with launch/records.py"
            )


def _open_sets(sets: Sequence[Found], apart: bool, columns: Columns) -> Source:
    _require_one_kind(sets)
    kind, paths = sets[0].kind, [path for each in sets for path in each.paths]
    seen: dict[str, Path] = {}
    for path in paths:
        if (before := seen.setdefault(os.path.realpath(path), path)) is not path:
            raise InputError(f"rec names {before} twice; leave one out")
    if columns != Columns() and kind not in (PARQUET, SAVED):
        raise InputError(f"image_column and label_column belong to parquet sets, but rec names {kind}; leave them out")
    _allow_open_files(2 * len(paths))
    if not apart:
        if kind == RECORDS:
            _require_same_people(paths)
        return _open_shards(kind, paths, columns)
    groups = [each.paths for each in sets] if len(sets) > 1 else [[path] for path in paths]
    parts = [_open_shards(kind, group, columns) for group in groups]
    return parts[0] if len(parts) == 1 else JoinedSource(parts, apart=True)


def _require_same_people(recs: Sequence[Path]) -> None:
    """InputError where the names beside two sets say that a label means two people; sets without names pass."""
    known: list[str] = []
    known_from = Path()
    for listed in dict.fromkeys(rec.with_name(NAMES) for rec in recs):
        if not listed.exists():
            continue
        names = listed.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n").split("\n")
        for label, (one, other) in enumerate(zip(known, names)):
            if one != other:
                raise InputError(
                    f"label {label} is {one[:60]!r} in {known_from} and {other[:60]!r} in {listed}; set "
                    "rec_labels='apart' where these are other people, or join the sets with launch/records.py merge"
                )
        if len(names) > len(known):
            known, known_from = names, listed


def _open_shards(kind: str, paths: Sequence[Path], columns: Columns) -> Source:
    """The files of one set, whose labels mean the same in all of them."""
    if kind == FOLDER and len(paths) > 1:
        raise InputError(
            f"{paths[0]} and {paths[1]}: folders of identities have no labels in common; set rec_labels='apart', or "
            "move the identities into one folder"
        )
    if kind in (PARQUET, SAVED):
        of_kind = open_parquet if kind == PARQUET else open_saved
        parts: list[Source] = [of_kind(paths, image_column=columns.image, label_column=columns.label)]
    else:
        of_path = {RECORDS: RecordSource, TAR: TarSource, LIST: ListSource, FOLDER: FolderSource}[kind]
        parts = [of_path(path) for path in paths]
    for part, path in zip(parts, paths):
        if not len(part):
            raise InputError(
                f"{path}: holds no image records; pack the set again, or check that rec names the right one"
                if kind == RECORDS
                else f"{path}: holds no images; leave it out, or check that rec names the right one"
            )
    return parts[0] if len(parts) == 1 else JoinedSource(parts)


def _allow_open_files(count: int) -> None:
    """Raise this process's own limit on open files, within what the system allows: a memory map keeps its file open."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256  # the rest of a run: network, threads, logs
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
