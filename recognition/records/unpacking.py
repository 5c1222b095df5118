"""A record set -> a folder of images per identity, and a table of them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from tqdm import tqdm

from recognition.atomic import naming
from recognition.data.decode import is_jpeg
from recognition.data.recordio import RecordReader
from recognition.records.layout import NAMES, Written, new_folder, read_names
from recognition.records.tables import new_table

TABLE, COLUMNS = "images.csv", ("path", "label", "name")


def unpack(rec: str | Path, out_dir: str | Path, *, table: bool = False) -> Written:
    """Write the images of `rec` into a new folder `out_dir`, one folder per identity, files named by key.

    Folders have the names in `identities.txt` where it is there, else the label. Where these sort as the labels do,
    packing `out_dir` again gives the same labels; packing its `images.csv` (path, label, name), which `table` asks for,
    always does. InputError when `out_dir` exists and is not empty.
    """
    out_dir, count = Path(out_dir), 0
    with RecordReader(rec) as reader, new_folder(out_dir) as aside:
        names, made = read_names(reader), set()
        digits = len(str((reader.num_classes or 1_000_000) - 1))
        keys = tqdm(reader.image_keys, f"unpacking {reader.path}", unit="image", delay=1, disable=None)
        with new_table(aside / TABLE, COLUMNS) if table else nullcontext(lambda row: None) as add_row:
            for key in keys:
                record = reader.read(key)
                label = record.label
                if names is not None and label >= len(names):
                    remedy = f"delete {NAMES} to use the labels as names"
                    raise record.error(f"label {label} has no line in {NAMES}", remedy)
                name = names[label] if names is not None else f"{label:0{digits}d}"
                if label not in made:
                    (aside / name).mkdir()
                    made.add(label)
                file = aside / name / f"{key:08d}{_suffix(record.payload)}"
                with naming(file):
                    file.write_bytes(record.payload)
                    add_row((f"{name}/{file.name}", label, name))
                count += 1
    remarks = ()
    if names is not None and names != sorted(names) and not table:
        remarks = (f"the names do not sort as the labels do: --csv writes {TABLE}, which packs with the same labels",)
    return Written(out_dir, count, len(made), remarks)


def _suffix(payload: bytes | memoryview) -> str:
    return ".jpg" if is_jpeg(payload) else ".png" if bytes(payload[:4]) == b"\x89PNG" else ".image"
