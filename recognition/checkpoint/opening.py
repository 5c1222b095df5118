"""Checkpoints that are read: verified by all ranks together, and passed over when they are damaged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recognition.checkpoint.files import plain_file
from recognition.checkpoint.folder import WHOLE, listed
from recognition.checkpoint.manifest import (
    LARGEST_DOCUMENT_BYTES,
    MANIFEST,
    DamagedCheckpoint,
    Manifest,
    parsed_json,
    read_manifest,
    serialise,
    verify,
)
from recognition.checkpoint.tensors import TensorFile
from recognition.collectives import gather_text
from recognition.errors import InputError
from recognition.runtime import Runtime


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files were all found as its manifest lists them."""

    path: Path
    manifest: Manifest

    @property
    def step(self) -> int:
        """Steps taken when it was written."""
        return self.manifest.step

    @property
    def world(self) -> int:
        """Ranks that wrote it."""
        return self.manifest.world

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the run said of it."""
        return self.manifest.facts

    @property
    def names(self) -> list[str]:
        """Names of its files, sorted; the manifest's is not among them."""
        return sorted(file.name for file in self.manifest.files)

    def document(self, name: str) -> Any:
        """The value of a JSON file; InputError when there is none of that name, DamagedCheckpoint when it changed."""
        file = next((file for file in self.manifest.files if file.name == name), None)
        if file is None or file.size > LARGEST_DOCUMENT_BYTES:
            raise InputError(f"{self.path} holds no document {name}; it holds {', '.join(self.names)}")
        path = self.path / name
        try:
            with plain_file(path) as opened:
                data = opened.read(file.size)
            if hashlib.sha256(data).hexdigest() != file.sha256:
                raise ValueError(f"its SHA-256 is not the one in {MANIFEST}")
            return parsed_json(data)
        except (OSError, ValueError) as error:
            raise DamagedCheckpoint(f"{path} is damaged: {getattr(error, 'strerror', None) or error}") from error

    def tensor_file(self, name: str) -> TensorFile:
        """A file of tensors, opened; InputError when there is none of that name."""
        if name not in self.names:
            raise InputError(f"{self.path} holds no file {name}; it holds {', '.join(self.names)}")
        return TensorFile(self.path / name)


def open_checkpoint(path: Path, runtime: Runtime = Runtime()) -> Checkpoint:  # noqa: B008 (an immutable value)
    """The checkpoint in the folder `path`, every file verified by one of the ranks (collective).

    DamagedCheckpoint, on every rank, names the first file that is missing or not as it was written.
    """
    manifest, said = None, {}
    try:
        manifest = _manifest_of(path)
        verify(path, manifest, part=runtime.rank, parts=runtime.world)
        said["manifest"] = hashlib.sha256(serialise(manifest)).hexdigest()
    except InputError as error:
        said["problem"] = str(error)
    runtime.wait_for_all(f"verification of {path}")
    heard = [json.loads(text) for text in gather_text(json.dumps(said), runtime)]
    problems = [each["problem"] for each in heard if "problem" in each]
    if problems:
        raise DamagedCheckpoint(problems[0])
    if len({each["manifest"] for each in heard}) > 1:
        raise DamagedCheckpoint(f"{path / MANIFEST} is not the same file on every rank; do all nodes share the folder?")
    return Checkpoint(path, manifest)


def newest_checkpoint(folder: Path, runtime: Runtime, log: Callable[[str], None]) -> Checkpoint | None:
    """The newest sound checkpoint in a folder, or None where there is none at all (collective).

    The main rank says by `log` which damaged ones were passed over, and why. InputError when none is sound.
    """
    # Another rank's view of a shared file system may lag behind: all go by what the main rank sees.
    names = json.loads(gather_text(json.dumps([entry.path.name for entry in listed(folder)]), runtime)[0])
    reason = ""
    for name in reversed(names):
        try:
            return open_checkpoint(folder / name, runtime)
        except DamagedCheckpoint as error:
            reason = reason or str(error)
            if runtime.is_main:
                log(f"checkpoint {name} is passed over: {error}")
    if names:
        raise InputError(
            f"{folder} holds {len(names)} checkpoint(s), and none is sound ({reason}); "
            f"put back a copy, or move them away to start anew"
        )
    return None


def _manifest_of(path: Path) -> Manifest:
    manifest = read_manifest(path)
    match = WHOLE.fullmatch(path.name)
    if match and int(match[1]) != manifest.step:
        raise DamagedCheckpoint(f"{path / MANIFEST} is of step {manifest.step}, which its folder's name denies")
    return manifest
