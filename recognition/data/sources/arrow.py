"""Samples from Hugging Face data sets: parquet files, and folders of `save_to_disk`; the `datasets` extra.

Both come down to Arrow files that are memory-mapped; for parquet, which has no random access, those in the cache of
`datasets` (HF_DATASETS_CACHE), made once. Pictures are handed on as they are stored, nothing is fetched from anywhere.
"""

from __future__ import annotations

import json
import mmap
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recognition.data.mapping import cut_short
from recognition.data.sources.content import Content, array_content, file_content, share_of
from recognition.data.sources.files import read_image_file
from recognition.data.sources.sample import Sample
from recognition.errors import InputError

if TYPE_CHECKING:
    import pyarrow

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "face", "picture", "photo")
LABEL_COLUMNS = (
    "label",
    "labels",
    "identity",
    "identity_id",
    "person",
    "person_id",
    "subject",
    "class",
    "cls",
    "target",
)
RECOPY = "re-copy it, or make the set again"


def saved_files(folder: Path) -> list[Path] | None:
    """The Arrow files of a folder written by `save_to_disk` (its train split, if it has several), else None."""
    if (folder / "dataset_dict.json").is_file():
        splits = _read_json(folder / "dataset_dict.json").get("splits") or []
        if "train" not in splits and len(splits) != 1:
            raise InputError(f"{folder}: holds the splits {', '.join(splits)}; name one, e.g. rec={folder}/SPLIT")
        folder = folder / ("train" if "train" in splits else splits[0])
    if not (folder / "state.json").is_file():
        return None
    try:
        files = [folder / entry["filename"] for entry in _read_json(folder / "state.json")["_data_files"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / 'state.json'}: lists no data files; save the set again") from error
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: is missing, though state.json lists it; bring it back, or save the set again")
    return files


def open_saved(
    files: Sequence[Path], *, image_column: str | None = None, label_column: str | None = None
) -> ArrowSource:
    """The samples of Arrow files that `save_to_disk` wrote, one after the other."""
    _require_datasets()
    tables, maps = zip(*(_read_table(file, RECOPY) for file in files))
    columns = find_columns([table.schema for table in tables], files, image_column, label_column)
    return ArrowSource(tables, *columns, maps=maps, files=files, rows=[table.num_rows for table in tables])


def open_parquet(
    files: Sequence[Path], *, image_column: str | None = None, label_column: str | None = None
) -> ArrowSource:
    """The samples of parquet files, one after the other, by way of the cache of `datasets`."""
    datasets = _require_datasets()
    from pyarrow.parquet import ParquetFile, read_metadata

    heads = [_or_damaged(file, lambda file=file: read_metadata(file), RECOPY) for file in files]
    schemas, rows = [head.schema.to_arrow_schema() for head in heads], [head.num_rows for head in heads]
    columns = find_columns(schemas, files, image_column, label_column)
    if 0 in rows:  # datasets cannot read those
        raise InputError(f"{files[rows.index(0)]}: holds no rows; leave it out, or check that rec names the right one")
    try:
        cached = datasets.Dataset.from_parquet([str(file) for file in files], columns=list(columns))
    except Exception as error:  # datasets wraps whatever the reading raised, in types of its own
        for file in files:
            _or_damaged(file, lambda file=file: [None for _ in ParquetFile(file).iter_batches(64)], RECOPY)
        raise InputError(f"{files[0]}: datasets cannot read the set ({error}); see what it says above") from error
    remake = f"remove {datasets.config.HF_DATASETS_CACHE} to have it made again"
    tables, maps = zip(*(_read_table(Path(entry["filename"]), remake) for entry in cached.cache_files))
    return ArrowSource(tables, *columns, maps=maps, files=files, rows=rows)


def find_columns(
    schemas: Sequence[pyarrow.Schema], files: Sequence[Path], image_column: str | None, label_column: str | None
) -> tuple[str, str]:
    """Names of the image and label column: those given, else the ones with a usual name.

    InputError where the first file has none, or another file has it not or with another type.
    """
    names = []
    for key, given, usual in (("image", image_column, IMAGE_COLUMNS), ("label", label_column, LABEL_COLUMNS)):
        name = given or next((name for name in usual if name in schemas[0].names), None)
        if name not in schemas[0].names:
            looked_for, known = repr(given) if given else ", ".join(usual), ", ".join(schemas[0].names)
            raise InputError(
                f"{files[0]}: has no {key} column {looked_for}, but {known}; set {key}_column to the one that is meant"
            )
        for schema, file in zip(schemas, files):
            kinds = [each.field(name).type if name in each.names else "no such column" for each in (schema, schemas[0])]
            if kinds[0] != kinds[1]:
                raise InputError(f"{file}: column {name} has {kinds[0]}, that of {files[0]} {kinds[1]}; make them one")
        names.append(name)
    return names[0], names[1]


class ArrowSource:
    """Rows of Arrow `tables`: a column of encoded pictures and one of labels, read from any thread.

    Pictures are bytes or datasets' {bytes, path}; labels are whole numbers, or names, which are numbered in the order
    of the alphabet over all tables. The tables' bytes are those of `maps`; `files` and their `rows` are where the user
    has them, for messages. InputError for a row without a picture or label, and for columns of another type.
    """

    def __init__(
        self,
        tables: Sequence[pyarrow.Table],
        image_column: str,
        label_column: str,
        *,
        maps: Sequence[mmap.mmap],
        files: Sequence[Path],
        rows: Sequence[int],
    ) -> None:
        self.files = list(files)
        self._file_ends = list(accumulate(rows))
        mapped = [(batch, each) for table, each in zip(tables, maps) for batch in table.to_batches() if batch.num_rows]
        batches, self._maps = [batch for batch, _ in mapped], [each for _, each in mapped]
        self._ends = list(accumulate(batch.num_rows for batch in batches))
        if (self._ends or [0])[-1] != self._file_ends[-1]:
            raise InputError(
                f"{self.files[0]}: {self._file_ends[-1]} rows are expected, {(self._ends or [0])[-1]} were found; "
                "remove the set from the cache of datasets (HF_DATASETS_CACHE), or save it again"
            )
        self._bytes, self._paths, first = [], [], 0
        for batch in batches:
            images = batch.column(image_column)
            encoded, paths = self._image_parts(images, image_column, first)
            self._bytes.append(encoded)
            self._paths.append(paths)
            first += batch.num_rows
        names = _class_names(tables[0].schema, label_column)
        self._labels = self._numbers([batch.column(label_column) for batch in batches], label_column)
        self.num_classes: int | None = max(int(self._labels.max(initial=-1)) + 1, names)

    def __len__(self) -> int:
        return self._file_ends[-1]

    def read(self, index: int) -> Sample:
        """Payload (a view of the file) and label; InputError where the row has no picture, and for a file cut short."""
        batch = bisect_right(self._ends, index)
        if problem := cut_short(self._maps[batch]):
            raise InputError(f"{self.describe(index)}: {problem}; {RECOPY}")
        row = int(index) - (self._ends[batch - 1] if batch else 0)
        encoded, label = self._bytes[batch][row].as_buffer(), int(self._labels[index])
        if encoded is not None:
            return Sample(memoryview(encoded).cast("B").toreadonly(), label)
        path = self._paths[batch][row].as_py() if self._paths[batch] is not None else None
        if path is None:
            raise InputError(f"{self.describe(index)}: has no picture; leave the row out of the set")
        return Sample(read_image_file(str(self._place(index)[0].parent / path)), label)

    def describe(self, index: int) -> str:
        """`FILE row ROW`, counted from 0."""
        file, row = self._place(index)
        return f"{file} row {row}"

    def labels(self) -> np.ndarray:
        """int64 labels of all samples; not to be changed."""
        return self._labels

    def content(self, ends_bytes: int) -> Content:
        """Labels, and the ends of the user's files."""
        yield from array_content([self._labels])
        for path in self.files:
            yield from file_content(path, [], share_of(ends_bytes, len(self.files)))

    def _place(self, index: int) -> tuple[Path, int]:
        """The user's file that holds the sample, and its row there."""
        file = bisect_right(self._file_ends, index)
        return self.files[file], int(index) - (self._file_ends[file - 1] if file else 0)

    def _image_parts(self, images: pyarrow.Array, name: str, first: int) -> tuple[pyarrow.Array, pyarrow.Array | None]:
        """The encoded pictures of a batch and, where some are stored outside, the paths; both checked for damage."""
        import pyarrow.types as types

        encoded, paths, kind = images, None, images.type
        if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            if images.null_count:
                raise self._null(images, name, first)
            encoded = images.field("bytes")
            paths = images.field("path") if encoded.null_count and kind.get_field_index("path") >= 0 else None
        if not (types.is_binary(encoded.type) or types.is_large_binary(encoded.type)):
            raise InputError(
                f"{self.describe(first)}: column {name} has {kind}, not encoded pictures; set image_column to another"
            )
        for column in (encoded, paths):
            if column is not None:  # offsets of a damaged file would point anywhere in memory
                _or_damaged(self.describe(first), lambda column=column: column.validate(full=True), RECOPY)
        return encoded, paths

    def _numbers(self, columns: list[pyarrow.Array], name: str) -> np.ndarray:
        """The labels of all batches, int64."""
        import pyarrow
        import pyarrow.compute
        import pyarrow.types as types

        first = 0
        for column in columns:
            _or_damaged(self.describe(first), lambda column=column: column.validate(full=True), RECOPY)
            if column.null_count:
                raise self._null(column, name, first)
            first += len(column)
        labels = pyarrow.chunked_array(columns)
        if types.is_string(labels.type) or types.is_large_string(labels.type):
            people = labels.unique().sort()
            labels = pyarrow.compute.index_in(labels, value_set=people)
        elif not types.is_integer(labels.type):
            raise InputError(
                f"{self.files[0]}: column {name} has {labels.type}, not numbers or names; set label_column to another"
            )
        numbers = labels.to_numpy().astype(np.int64, copy=False)
        if len(numbers) and numbers.min() < 0:
            worst = int(np.argmax(numbers < 0))
            raise InputError(
                f"{self.describe(worst)}: label {numbers[worst]} is not a class number; leave out rows without a label"
            )
        return numbers

    def _null(self, column: pyarrow.Array, name: str, first: int) -> InputError:
        row = first + column.is_null().to_pylist().index(True)
        return InputError(f"{self.describe(row)}: column {name} is empty there; leave the row out of the set")


def _class_names(schema: pyarrow.Schema, label_column: str) -> int:
    """How many classes the set itself names in its features; 0 where it does not."""
    from datasets import ClassLabel, Features

    feature = Features.from_arrow_schema(schema).get(label_column)
    return feature.num_classes if isinstance(feature, ClassLabel) else 0


def _read_table(file: Path, remedy: str) -> tuple[pyarrow.Table, mmap.mmap]:
    """The Arrow stream in `file`, and the map that its bytes are views of."""
    import pyarrow

    def read() -> tuple[pyarrow.Table, mmap.mmap]:
        with open(file, "rb") as opened:
            try:
                mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise pyarrow.ArrowInvalid("the file is empty") from error
        return pyarrow.ipc.open_stream(pyarrow.py_buffer(mapped)).read_all(), mapped

    return _or_damaged(file, read, remedy)


def _or_damaged(where: object, read: Callable[[], Any], remedy: str) -> Any:
    """What `read()` returns; InputError in place of Arrow's errors."""
    import pyarrow

    try:
        return read()
    except (pyarrow.ArrowException, OSError) as error:
        problem = str(error).strip().splitlines()[0][:200]
        raise InputError(f"{where}: the file is damaged ({problem}); {remedy}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON; save the set again") from error
    return values if isinstance(values, dict) else {}


def _require_datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"rec names a Hugging Face data set, but {error}; pip install -e '.[datasets]'") from error
    return datasets
