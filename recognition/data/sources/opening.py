"""Which source a user means by `rec`."""

from __future__ import annotations

from pathlib import Path

from recognition.data.sources.drawn import SYNTHETIC_IMAGES, SyntheticSource
from recognition.data.sources.files import FileSource, FolderSource, ListSource
from recognition.data.sources.record_file import RecordSource
from recognition.data.sources.sample import Source
from recognition.errors import InputError


def open_source(
    rec: str | Path,
    *,
    num_classes: int | None = None,
    num_image: int | None = None,
    seed: int = 0,
    image_size: int = 112,
) -> Source:
    """The source that `rec` names: "synthetic", a folder with train.rec, a .rec or .lst file, or a folder per identity.

    `num_classes` may exceed what the data has, not fall short of it; `num_image`, `seed` and `image_size` shape
    synthetic data only. InputError when nothing is there, nothing is in it, or the number of classes is not known.
    """
    if rec == "synthetic":
        if not num_classes:
            raise InputError('rec="synthetic" can draw any number of identities; set num_classes')
        return SyntheticSource(
            num_classes=num_classes, num_image=num_image or SYNTHETIC_IMAGES, seed=seed, image_size=image_size
        )
    path = Path(rec)
    if not path.exists():
        raise InputError(
            f"rec={str(rec)!r} does not exist; give a folder with train.rec or one folder per identity, or a .lst file"
        )
    source = _open_path(path)
    if not len(source):
        raise InputError(f"{rec}: holds no image records; pack the set again, or check that rec names the right folder")
    if source.num_classes is None and not num_classes:
        raise InputError(
            f"{rec}: neither `property` nor identity records say how many identities there are; set num_classes, "
            f"or write `property` beside train.rec: NUM_CLASSES,{image_size},{image_size}"
        )
    if num_classes and source.num_classes is not None and source.num_classes > num_classes:
        raise InputError(
            f"{rec}: holds {source.num_classes} identities, but num_classes={num_classes}; "
            f"set num_classes={source.num_classes} or leave it out"
        )
    source.num_classes = num_classes or source.num_classes
    return source


def _open_path(path: Path) -> RecordSource | FileSource:
    if path.is_file():
        if path.suffix == ".rec":
            return RecordSource(path)
        if path.suffix == ".lst":
            return ListSource(path)
        raise InputError(f"{path}: is neither a .rec nor a .lst file; give one of these, or the folder with train.rec")
    if (path / "train.rec").exists():
        return RecordSource(path / "train.rec")
    if (path / "train.idx").exists():
        raise InputError(f"{path}: has train.idx but no train.rec; copy train.rec beside it")
    others = sorted(path.glob("*.rec"))
    if others:
        raise InputError(f"{path}: holds {others[0].name} but no train.rec; set rec={others[0]}")
    return FolderSource(path)
