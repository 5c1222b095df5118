"""Model files that others made: what they are called, under which terms, where they lie and where they come from.

Nothing here opens a connection but `fetch_pack`, which is called by those who want it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from recognition.embedding.network import file_sha256
from recognition.errors import InputError

DETECTION, RECOGNITION, LANDMARKS_106, LANDMARKS_3D_68, ATTRIBUTES = (
    "detection",
    "recognition",
    "106 landmarks",
    "68 landmarks in 3D",
    "gender and age",
)
LICENCE = "InsightFace, non-commercial research only"
RELEASES = "https://github.com/deepinsight/insightface/releases/download/v0.7"
HOME = Path("~/.insightface")
MAX_FILE_BYTES = 2 << 30
SILENCE_S = 60  # after which a download has failed
# SHA-256 of the files as they are published; what is fetched under one of these names must be the same.
SHA256 = {
    "det_10g.onnx": "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    "scrfd_10g_bnkps.onnx": "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    "det_500m.onnx": "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a",
    "w600k_r50.onnx": "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    "w600k_mbf.onnx": "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
    "glintr100.onnx": "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
    "1k3d68.onnx": "df5c06b8a0c12e422b2ed8947b8869faa4105387f199c477af038aa01f9a45cc",
    "2d106det.onnx": "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",
    "genderage.onnx": "4fde69b1c810857b88c64a335084f1c3fe8f01246c9a191b48c7bb756d6652fb",
}


@dataclass(frozen=True)
class Pack:
    """A folder of ONNX files that belong together: the file of each task, the licence, and the archive it comes in."""

    name: str
    files: dict[str, str]
    licence: str
    source: str


def _insightface(name: str, detector: str, recogniser: str) -> Pack:
    others = {LANDMARKS_106: "2d106det.onnx", LANDMARKS_3D_68: "1k3d68.onnx", ATTRIBUTES: "genderage.onnx"}
    files = {DETECTION: detector, RECOGNITION: recogniser, **others}
    return Pack(name, files, LICENCE, f"{RELEASES}/{name}.zip")


PACKS = {
    pack.name: pack
    for pack in (
        _insightface("buffalo_l", "det_10g.onnx", "w600k_r50.onnx"),
        _insightface("buffalo_m", "det_2.5g.onnx", "w600k_r50.onnx"),
        _insightface("buffalo_s", "det_500m.onnx", "w600k_mbf.onnx"),
        _insightface("antelopev2", "scrfd_10g_bnkps.onnx", "glintr100.onnx"),
    )
}


def is_pack(name: str | PathLike) -> bool:
    """Whether that is the name of a pack known here."""
    return str(name) in PACKS


def places_of(name: str | PathLike, root: str | PathLike | None = None) -> list[Path]:
    """Folders where a pack may lie: `name` itself, ROOT/models/NAME and ROOT/NAME; ROOT is ~/.insightface unless given.

    Archives hold a folder of their own name at times: that is looked into, too.
    """
    base = Path(root).expanduser() if root is not None else HOME.expanduser()
    folders = [base / "models" / name, base / name]
    if Path(name).name != str(name) or Path(name).is_dir():
        folders.insert(0, Path(name).expanduser())
    return [place for folder in folders for place in (folder, folder / Path(name).name)]


def file_of(name: str | PathLike, task: str, root: str | PathLike | None = None) -> Path:
    """The file of a pack, or of a folder that has its files, for a task.

    InputError naming the file, the places that were looked at, where it comes from and its licence.
    """
    known = PACKS.get(Path(name).name)
    wanted = [known.files[task]] if known else sorted({pack.files[task] for pack in PACKS.values()})
    places = places_of(name, root)
    for place in places:
        for file in wanted:
            if (place / file).is_file():
                return place / file
    looked = ", ".join(str(place) for place in places[::2])
    home = places[0] if root is None else Path(root) / "models" / str(name)
    if known is None:
        raise InputError(
            f"{name} is no pack known here ({', '.join(PACKS)}) and no folder with one of {', '.join(wanted)} for "
            f"{task}; looked into {looked}"
        )
    raise InputError(
        f"{known.files[task]} of {known.name} ({task}) is not there; looked into {looked}. It comes from "
        f"{known.source} ({known.licence}): unpack it into {home}, name another folder with root=, "
        f"or fetch it with `python -m generation.packs {known.name}`"
    )


def recogniser_of(name: str | PathLike, root: str | PathLike | None = None) -> Path:
    """The recogniser of a pack; InputError as of `file_of`."""
    return file_of(name, RECOGNITION, root)


def detector_of(name: str | PathLike, root: str | PathLike | None = None) -> Path:
    """The detector of a pack; InputError as of `file_of`."""
    return file_of(name, DETECTION, root)


def fetch_pack(name: str, root: str | PathLike | None = None, *, source: str | None = None) -> Path:
    """Download a pack and unpack its ONNX files into ROOT/models/NAME, whole or not at all; returns that folder.

    `source`: another address of the same archive. InputError when it cannot be had, or holds something else.
    """
    if name not in PACKS:
        raise InputError(f"{name!r} is no pack known here; there are {', '.join(PACKS)}")
    pack = PACKS[name]
    folder = (Path(root).expanduser() if root is not None else HOME.expanduser()) / "models" / name
    if folder.exists():
        raise InputError(f"{folder} is there already; remove it to fetch {name} again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    address = source or pack.source
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as aside:
        archive, unpacked = Path(aside) / "archive.zip", Path(aside) / name
        try:
            with urllib.request.urlopen(address, timeout=SILENCE_S) as answer, open(archive, "wb") as file:
                shutil.copyfileobj(answer, file)
        except (OSError, ValueError) as error:
            raise InputError(f"{address} cannot be fetched ({error}); fetch it by other means into {folder}") from error
        _unpack(archive, unpacked, set(pack.files.values()), address)
        os.replace(unpacked, folder)
    return folder


def _unpack(archive: Path, folder: Path, wanted: set[str], address: str) -> None:
    """The wanted files of an archive, by their last names, into `folder`; nothing else is written."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                file = Path(entry.filename).name
                if file in wanted and entry.file_size <= MAX_FILE_BYTES:
                    with opened.open(entry) as source, open(folder / file, "wb") as target:
                        shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{address} is no archive that can be read ({error})") from error
    if missing := wanted - {path.name for path in folder.iterdir()}:
        raise InputError(f"{address} lacks {', '.join(sorted(missing))}: it is another pack")
    for name in sorted(wanted & SHA256.keys()):
        if (digest := file_sha256(folder / name)) != SHA256[name]:
            raise InputError(f"{name} in {address} has SHA-256 {digest}, not {SHA256[name]}: damaged, or changed")


def main() -> None:
    """Fetch a pack, because the user asks for it: `python -m generation.packs NAME [ROOT]`."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m generation.packs", description=main.__doc__)
    parser.add_argument("name", choices=sorted(PACKS), help="which pack; its licence is printed first")
    parser.add_argument("root", nargs="?", help="it goes to ROOT/models/NAME (default: ~/.insightface)")
    given = parser.parse_args()
    print(f"{given.name}: {PACKS[given.name].licence}; from {PACKS[given.name].source}", flush=True)
    folder = fetch_pack(given.name, given.root)
    for path in sorted(folder.iterdir()):
        print(f"{path}  SHA-256 {file_sha256(path)}")


if __name__ == "__main__":
    from recognition.command import run_command

    run_command(main)
