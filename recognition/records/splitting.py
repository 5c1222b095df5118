"""A record set -> two, divided by identity: no one is on both sides."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from recognition.data.recordio import RecordReader
from recognition.errors import InputError
from recognition.permutation import permutation_keys, permuted_first
from recognition.records.layout import NAMES, Packed, new_folder, read_names, write_set
from recognition.records.reading import labelled_images, labels_of, size_of
from recognition.training.class_map import COLUMNS

REST, HELD_OUT = "train", "held_out"
LABELS = "labels.csv"


def split(
    rec: str | Path,
    out_dir: str | Path,
    *,
    share: float | None = None,
    identities: int | None = None,
    listed: str | Path | None = None,
    seed: int = 0,
) -> tuple[Packed, Packed]:
    """Divide `rec` into two new sets `out_dir`/train and `out_dir`/held_out; returns both.

    Held out is a `share` of the identities, or that many of them, drawn by `seed`, or those `listed` in a file, a label
    or a name a line. Labels on either side are 0, 1, 2, ... in the order of the old ones; `labels.csv` there has label
    and old_label, as `class_map` of a training takes it. Identities without images go to neither side. InputError when
    a side would be empty, and when `out_dir` is not empty.
    """
    if sum(choice is not None for choice in (share, identities, listed)) != 1:
        raise InputError("give one of: the share to hold out, the number of identities, a list of them")
    out_dir = Path(out_dir)
    with RecordReader(rec) as reader, new_folder(out_dir) as aside:
        labels_N, names = labels_of(reader), read_names(reader)
        present = np.unique(labels_N)
        if names is not None and len(names) <= present[-1]:
            raise InputError(
                f"{reader.path.with_name(NAMES)}: has {len(names)} lines, but labels go up to {present[-1]}"
            )
        if listed is not None:
            held_out = _read_list(Path(listed), present, names)
        else:
            if share is not None and not 0 < share < 1:
                raise InputError(f"--share {share:g}: must lie between 0 and 1, as 0.1 for a tenth of the identities")
            wanted = identities if share is None else round(share * len(present))
            held_out = _draw(wanted, present, seed, reader)
        if len(held_out) == len(present):
            raise InputError(f"{listed or reader.path}: all {len(present)} identities would be held out; keep some")
        sides = ((REST, np.setdiff1d(present, held_out)), (HELD_OUT, held_out))
        return tuple(_write_side(reader, labels_N, old, names, aside / side, out_dir / side) for side, old in sides)


def _draw(wanted: int, present: np.ndarray, seed: int, reader: RecordReader) -> np.ndarray:
    if not 0 < wanted < len(present):
        raise InputError(
            f"{reader.path}: {wanted} of {len(present)} identities cannot be held out; take 1 to all but 1"
        )
    return np.sort(present[permuted_first(wanted, len(present), permutation_keys(seed))])


def _read_list(path: Path, present: np.ndarray, names: list[str] | None) -> np.ndarray:
    """Ascending labels of the listed identities: by name where the first line is one, else by label."""
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    wanted = [(number, line.rstrip("\r")) for number, line in enumerate(lines, start=1) if line.strip()]
    if not wanted:
        raise InputError(f"{path}: lists nobody; write a label or a name a line")
    label_of = {name: label for label, name in enumerate(names or ())}
    if wanted[0][1] not in label_of:
        label_of = {str(label): label for label in present.tolist()}
    for number, line in wanted:
        if label_of.get(line) is None:
            raise InputError(f"{path}, line {number}: {line[:60]!r} is not an identity of this set; correct it")
    return np.intersect1d([label_of[line] for _, line in wanted], present)


def _write_side(
    reader: RecordReader, labels_N: np.ndarray, old: np.ndarray, names: list[str] | None, folder: Path, final: Path
) -> Packed:
    """Write the images of the identities `old` (ascending labels) into `folder`, which will be called `final`."""
    new_names = None if names is None else [names[label] for label in old.tolist()]
    places = np.flatnonzero(np.isin(labels_N, old))
    places = places[np.argsort(labels_N[places], kind="stable")]
    new_labels = np.searchsorted(old, labels_N[places])
    sets = np.zeros(len(places), np.int32)
    images = labelled_images([reader], sets, reader.image_keys[places], new_labels, title=f"writing {final}")
    counts_C = write_set(folder, images, num_classes=len(old), size=size_of(reader), names=new_names)
    with open(folder / LABELS, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows(enumerate(old.tolist()))
    return Packed(final / "train.rec", int(counts_C.sum()), len(old))
