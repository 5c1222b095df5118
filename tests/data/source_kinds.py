"""The same pictures in every form that training reads, in the same order."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recognition.data.label_noise import NoisySource, parse_noise
from recognition.data.recordio import RecordWriter
from recognition.data.sources import Source, SyntheticSource, open_source
from recognition.errors import InputError
from tests.pictures import jpeg

SIZE, CLASSES = 16, 5
# Sorted by label, as folders are; nobody has as many pictures as another.
LABELS = [0] * 3 + [1] * 7 + [2] * 1 + [3] * 6 + [4] * 5
SHARDS = (slice(0, 7), slice(7, 8), slice(8, 22))
Pictures = Sequence[tuple[int, bytes]]
PICTURES: Pictures = [(label, jpeg(seed, SIZE)) for seed, label in enumerate(LABELS)]


def error_of(call: Callable, *args: object, **options: object) -> str:
    """The one line of the InputError that this call ends in."""
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message, "an error says what to do"
    return message


def content(source: Source) -> list[tuple[int, bytes]]:
    """Label and stored bytes of each sample."""
    return [(source.read(index).label, bytes(source.read(index).payload)) for index in range(len(source))]


def write_records(rec: Path, pictures: Pictures, *, classes: int | None = CLASSES) -> Path:
    """A record file of these pictures, with a `property` beside it."""
    with RecordWriter(rec) as writer:
        for key, (label, payload) in enumerate(pictures):
            writer.write(key, payload, label)
    if classes is not None:
        (rec.parent / "property").write_text(f"{classes},{SIZE},{SIZE}")
    return rec


def write_tar(path: Path, pictures: Pictures, *, first: int = 0, as_json: bool = False, fmt: int = 2) -> Path:
    """A WebDataset shard of these pictures; labels in .cls or .json, `fmt` as tarfile's formats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=fmt) as archive:
        for number, (label, payload) in enumerate(pictures, first):
            text = json.dumps({"label": label, "id": "x"}) if as_json else f"{label}\n"
            for name, content in ((f"{number:06}.jpg", payload), (f"{number:06}.{_suffix(as_json)}", text.encode())):
                add_member(archive, name, content)
    return path


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """A file of that name and content; the time of change is a fraction, as webdataset writes it."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(content), 1700000000.25
    archive.addfile(member, io.BytesIO(content))


def write_folders(root: Path, pictures: Pictures) -> Path:
    """A folder per identity, and train.lst that names the same files."""
    lines = []
    for number, (label, payload) in enumerate(pictures):
        path = root / f"id{label}" / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
        lines.append(f"{number}\t{label}\t{path.relative_to(root)}\n")
    (root / "train.lst").write_text("".join(lines))
    return root


def hugging_face_set(pictures: Pictures):
    """A data set of the library `datasets`, with a picture and a class label a row."""
    import datasets

    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=[f"id{i}" for i in range(CLASSES)])}
    columns = {
        "image": [{"bytes": payload, "path": None} for _, payload in pictures],
        "label": [label for label, _ in pictures],
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


@pytest.fixture
def hugging_face(tmp_path_factory, monkeypatch):
    """The library with a cache of its own, silent, and without a network; skips where it is not installed."""
    datasets = pytest.importorskip("datasets", reason="needs the `datasets` extra")

    def deny(*_):
        raise AssertionError("reading a set on this disk needs no network")

    monkeypatch.setattr("socket.socket.connect", deny)
    monkeypatch.setattr("socket.getaddrinfo", deny)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("hugging-face"))
    datasets.disable_progress_bars()
    return datasets


def _record(root: Path, pictures: Pictures) -> str:
    write_records(root / "train.rec", pictures)
    return str(root)


def _records(root: Path, pictures: Pictures) -> str:
    for number, part in enumerate(SHARDS):
        write_records(root / f"train-{number:03}.rec", pictures[part])
    return str(root)


def _record_list(root: Path, pictures: Pictures) -> list[str]:
    return [_record(root / name, pictures[part]) for name, part in zip("abc", SHARDS)]


def _folder(root: Path, pictures: Pictures) -> str:
    return str(write_folders(root, pictures))


def _list(root: Path, pictures: Pictures) -> str:
    return str(write_folders(root, pictures) / "train.lst")


def _tar(root: Path, pictures: Pictures) -> str:
    for number, part in enumerate(SHARDS):
        write_tar(root / f"train-{number:06}.tar", pictures[part], first=part.start, as_json=number == 1, fmt=number)
    return str(root)


def _pattern(root: Path, pictures: Pictures) -> str:
    return _tar(root, pictures) + "/train-{000000..000002}.tar"


def _parquet(root: Path, pictures: Pictures) -> str:
    for number, part in enumerate(SHARDS):
        hugging_face_set(pictures[part]).to_parquet(root / f"train-{number:05}-of-00003.parquet", batch_size=4)
    return str(root)


def _saved(root: Path, pictures: Pictures) -> str:
    hugging_face_set(pictures).save_to_disk(root / "saved", num_shards=3)
    return str(root / "saved")


# Kind -> what writes these pictures below a folder and returns the `rec` that opens them.
STORED: dict[str, Callable[[Path, Pictures], str | list[str]]] = {
    "record": _record,
    "records": _records,
    "record list": _record_list,
    "folder": _folder,
    "list": _list,
    "tar": _tar,
    "pattern": _pattern,
    "parquet": _parquet,
    "saved": _saved,
}
HUGGING_FACE = ("parquet", "saved")
KINDS = [*STORED, "synthetic", "noisy"]


def make(kind: str, root: Path, pictures: Pictures = PICTURES) -> Source:
    """These pictures (or as many drawn ones) as a source of that kind, written below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    if kind == "synthetic":
        return SyntheticSource(num_classes=CLASSES, num_image=len(pictures), image_size=SIZE)
    if kind == "noisy":
        return NoisySource(make("tar", root, pictures), parse_noise("flip:0.5"), seed=3)
    return open_source(STORED[kind](root, pictures))


def _suffix(as_json: bool) -> str:
    return "json" if as_json else "cls"
