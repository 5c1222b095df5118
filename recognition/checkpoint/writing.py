"""One checkpoint, written by all ranks or by none.

Every rank writes its files aside and says what it wrote; only when all have, the main rank adds the manifest and gives
the folder its name. Whatever fails, on whatever rank, fails on all of them with the same message.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recognition.checkpoint.files import Written, write_bytes
from recognition.checkpoint.folder import aside_path, commit, step_path
from recognition.checkpoint.manifest import (
    LARGEST_DOCUMENT_BYTES,
    LARGEST_MANIFEST_BYTES,
    LARGEST_STEP,
    MANIFEST,
    DamagedCheckpoint,
    Manifest,
    is_plain_name,
    json_bytes,
    serialise,
    verify_sizes,
)
from recognition.checkpoint.tensors import size_of_tensors, write_tensors
from recognition.collectives import gather_text
from recognition.errors import InputError
from recognition.runtime import Runtime

Tensors = Mapping[str, Mapping[str, Tensor]]
# A file takes whole blocks of the disk; the manifest, and what the disk notes for itself, take some more.
DISK_BLOCK_BYTES = 4096
MARGIN_BYTES = 1 << 20


class CheckpointNotWritten(InputError):
    """A checkpoint could not be written, which every rank is told; those before it are as they were."""


def write_checkpoint(
    folder: Path,
    step: int,
    *,
    tensors: Tensors,
    documents: Mapping[str, Any],
    facts: Mapping[str, Any],
    is_best: bool,
    runtime: Runtime,
) -> Path:
    """Write the checkpoint of a step into `folder` and return its path (collective; see CheckpointStore.save).

    CheckpointNotWritten, on every rank, names the first rank that failed, and why; nothing is left aside then.
    """
    contents: dict[str, bytes] = {}

    def plan() -> dict[str, Any]:
        if runtime.is_main:
            contents.update(_encoded(documents, facts))
        return _plan(folder, step, tensors, contents)

    def write() -> list[Written]:
        new.mkdir(exist_ok=True)
        files = [write_bytes(new / name, content) for name, content in contents.items()]
        return files + [write_tensors(new / name, named) for name, named in tensors.items()]

    def finish() -> None:
        if runtime.is_main:
            files = [Written(*file) for of_rank in written for file in of_rank]
            said = {"torch": str(torch.__version__), **facts}
            _finish(new, Manifest(step, runtime.world, _now(), is_best, said, files))

    plans = _together(plan, "checkpoint: sizes", step, folder, 0, runtime)
    new = folder / plans[0]["new"]
    needed = _room_needed(plans)
    _require_fitting(plans, step, folder, needed)
    try:
        written = _together(write, "checkpoint: files", step, folder, needed, runtime)
        _together(finish, "checkpoint: commit", step, folder, needed, runtime)
    except CheckpointNotWritten:
        # All ranks have come to the end of their writing: nobody adds to the folder while it is removed.
        shutil.rmtree(new, ignore_errors=True)
        runtime.wait_for_all("checkpoint: removal of what was written")
        raise
    return step_path(folder, step)


def _together(
    work: Callable[[], Any], phase: str, step: int, folder: Path, needed_bytes: int, runtime: Runtime
) -> list[Any]:
    """What `work` returned on every rank, by rank; CheckpointNotWritten on all ranks when it failed on any."""
    cause = None
    try:
        runtime.at(phase, step)
        said = {"done": work()}
    except Exception as error:
        cause, said = error, {"problem": _told(error, folder, needed_bytes)}
    runtime.wait_for_all(phase)
    heard = [json.loads(text) for text in gather_text(json.dumps(said), runtime)]
    for rank, each in enumerate(heard):
        if "problem" in each:
            where = f"the checkpoint of step {step} was not written: rank {rank}"
            raise CheckpointNotWritten(f"{where}: {each['problem']}") from cause
    return [each["done"] for each in heard]


def _told(error: Exception, folder: Path, needed_bytes: int) -> str:
    if isinstance(error, InputError):
        return str(error)
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    room = f"; the checkpoint needs {needed_bytes} bytes" if needed_bytes else ""
    try:
        room += f", {shutil.disk_usage(folder).free} are free there"
    except OSError:
        room += f"; is {folder} on a file system that all nodes share?"
    return f"{error.strerror}: {error.filename}{room}"


def _encoded(documents: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, bytes]:
    """Bytes of the documents; InputError for what is no JSON, in the facts too."""
    _json_of("facts", facts)
    return {name: _json_of(name, value) for name, value in documents.items()}


def _json_of(name: str, value: Any) -> bytes:
    try:
        content = json_bytes(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{name} cannot be stored as JSON: {error}") from error
    if len(content) > LARGEST_DOCUMENT_BYTES:
        raise InputError(f"{name} is {len(content)} bytes of JSON; {LARGEST_DOCUMENT_BYTES} are the most")
    return content


def _plan(folder: Path, step: int, tensors: Tensors, contents: Mapping[str, bytes]) -> dict[str, Any]:
    """What this rank will write, and the bytes that are free where it will."""
    if not 0 <= step <= LARGEST_STEP:
        raise InputError(f"step {step} is no number of steps")
    sizes = {name: len(content) for name, content in contents.items()}
    names = [*contents, *tensors]
    for name in names:
        if not is_plain_name(name):
            raise InputError(f"{name!r} is no name for a file of a checkpoint; use letters, digits and ._-")
    for name, named in tensors.items():
        sizes[name] = size_of_tensors(name, named)
    return {
        "step": step,
        "names": names,
        "sizes": [sizes[name] for name in names],
        "free": shutil.disk_usage(folder).free,
        "new": aside_path(step_path(folder, step), "new").name,
    }


def _room_needed(plans: list[dict[str, Any]]) -> int:
    """Bytes that the files of all ranks and the manifest take on the disk."""
    sizes = [size for plan in plans for size in plan["sizes"]]
    return sum(-(-size // DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES for size in sizes) + MARGIN_BYTES


def _require_fitting(plans: list[dict[str, Any]], step: int, folder: Path, needed_bytes: int) -> None:
    """CheckpointNotWritten, the same on every rank, unless plans agree with each other and the disk has room."""
    start = f"the checkpoint of step {step} was not written"
    steps = [plan["step"] for plan in plans]
    if len(set(steps)) > 1:
        raise CheckpointNotWritten(f"{start}: the ranks are at steps {steps}")
    names = [name for plan in plans for name in plan["names"]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CheckpointNotWritten(f"{start}: more than one file is to be named {', '.join(twice)}")
    free = min(plan["free"] for plan in plans)
    if free < needed_bytes:
        raise CheckpointNotWritten(
            f"{start}: it needs {needed_bytes} bytes and {free} are free in {folder}; make room there, keep fewer "
            f"checkpoints, or choose another output folder"
        )


def _finish(new: Path, manifest: Manifest) -> None:
    """Add the manifest, the last file of all, and give the folder its name."""
    try:
        verify_sizes(new, manifest.files)
    except DamagedCheckpoint as error:
        raise InputError(f"{error}; is {new.parent} on a file system that all nodes share?") from error
    content = serialise(manifest)
    if len(content) > LARGEST_MANIFEST_BYTES:
        raise InputError(f"its manifest is {len(content)} bytes; {LARGEST_MANIFEST_BYTES} are the most")
    write_bytes(new / MANIFEST, content)
    commit(new, step_path(new.parent, manifest.step))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
