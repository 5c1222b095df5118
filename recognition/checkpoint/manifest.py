"""What a checkpoint consists of: every file with its size and SHA-256, and the SHA-256 of the list itself.

Loading trusts the manifest alone: a file that it does not list is ignored, one that it lists must be as listed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recognition.checkpoint.files import Written, plain_file, sha256_of
from recognition.errors import InputError

MANIFEST = "manifest.json"
FORMAT = "arcscale checkpoint 1"
LARGEST_MANIFEST_BYTES = 16 << 20
LARGEST_DOCUMENT_BYTES = 256 << 20
LARGEST_STEP = 10**12
# Neither a separator nor a leading dot: such a name cannot lead out of the checkpoint's folder.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class DamagedCheckpoint(InputError):
    """A file of a checkpoint is missing or is not what was written; the message names it."""


@dataclass(frozen=True)
class Manifest:
    """A checkpoint's step, the ranks that wrote it, when (UTC), what the run said of it, and its files."""

    step: int
    world: int
    written_at: str
    is_best: bool
    facts: Mapping[str, Any]
    files: Sequence[Written]

    @property
    def size_bytes(self) -> int:
        """Bytes of all listed files."""
        return sum(file.size for file in self.files)


def json_bytes(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, ASCII; ValueError or TypeError for what strict JSON has not."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def parsed_json(data: bytes) -> Any:
    """The value of strict JSON, without NaN and keys given twice; ValueError for anything else."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    def single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise ValueError("a key is given twice")
        return entries

    try:
        return json.loads(data, parse_constant=refuse, object_pairs_hook=single)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def is_plain_name(name: object) -> bool:
    """True for a name that a file of a checkpoint may have: letters, digits, `._-`, not that of the manifest."""
    return isinstance(name, str) and PLAIN_NAME.fullmatch(name) is not None and name != MANIFEST


def serialise(manifest: Manifest) -> bytes:
    """The manifest as the bytes of its file; ValueError or TypeError when its facts are no strict JSON."""
    content = {
        "format": FORMAT,
        "step": manifest.step,
        "world": manifest.world,
        "written_at": manifest.written_at,
        "is_best": manifest.is_best,
        "facts": manifest.facts,
        "files": [file._asdict() for file in manifest.files],
    }
    # Once through JSON, so that keys which are numbers are text before they are sorted.
    content = json.loads(json_bytes(content))
    return json_bytes({**content, "sha256": hashlib.sha256(json_bytes(content)).hexdigest()})


def parse(data: bytes, path: Path) -> Manifest:
    """The manifest whose file at `path` holds `data`; DamagedCheckpoint unless every byte is as it was written."""
    try:
        content = parsed_json(data)
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        rest = {key: value for key, value in content.items() if key != "sha256"}
        if content.get("sha256") != hashlib.sha256(json_bytes(rest)).hexdigest() or json_bytes(content) != data:
            raise ValueError("it does not match the SHA-256 in it")
        return _checked(rest)
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path} is damaged: {error}") from error


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the checkpoint in `folder`; DamagedCheckpoint when it is missing or not as it was written."""
    path = folder / MANIFEST
    try:
        with plain_file(path) as file:
            data = b""
            while len(data) <= LARGEST_MANIFEST_BYTES and (part := file.read(LARGEST_MANIFEST_BYTES + 1 - len(data))):
                data += part
    except OSError as error:
        raise DamagedCheckpoint(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_MANIFEST_BYTES:
        raise DamagedCheckpoint(f"{path} is damaged: it is larger than {LARGEST_MANIFEST_BYTES} bytes")
    return parse(data, path)


def verify(folder: Path, manifest: Manifest, *, part: int = 0, parts: int = 1) -> None:
    """Compare sizes of all files, then the SHA-256 of one of `parts` shares of them; DamagedCheckpoint names a file."""
    verify_sizes(folder, manifest.files)
    for file in share_of(manifest.files, part, parts):
        try:
            found = sha256_of(folder / file.name)
        except OSError as error:
            raise DamagedCheckpoint(f"{folder / file.name} cannot be read: {error.strerror}") from error
        if found != file.sha256:
            raise DamagedCheckpoint(f"{folder / file.name} is damaged: its SHA-256 is not the one in {MANIFEST}")


def verify_sizes(folder: Path, files: Sequence[Written]) -> None:
    """Check that every file is there, is a regular file and has its size; DamagedCheckpoint names the first not so."""
    for file in files:
        path = folder / file.name
        try:
            with plain_file(path) as opened:
                size = opened.seek(0, 2)
        except OSError as error:
            raise DamagedCheckpoint(f"{path} cannot be read: {error.strerror}") from error
        if size != file.size:
            raise DamagedCheckpoint(f"{path} is damaged: it has {size} bytes and should have {file.size}")


def share_of(files: Sequence[Written], part: int, parts: int) -> list[Written]:
    """Share `part` of `parts` nearly equal ones by bytes; every file is in exactly one."""
    shares, sizes = [[] for _ in range(parts)], [0] * parts
    for file in sorted(files, key=lambda file: (-file.size, file.name)):
        least = sizes.index(min(sizes))
        shares[least].append(file)
        sizes[least] += file.size
    return shares[part]


def _checked(content: dict[str, Any]) -> Manifest:
    """ValueError for content of other names, types or ranges than `serialise` writes."""
    if content.get("format") != FORMAT:
        raise ValueError(f"its format is {str(content.get('format'))[:40]!r}, and {FORMAT!r} is what is read here")
    wanted = {"format", "step", "world", "written_at", "is_best", "facts", "files"}
    if content.keys() != wanted:
        raise ValueError(f"its keys are not {', '.join(sorted(wanted))}")
    if not _is_count(content["step"]) or content["step"] > LARGEST_STEP:
        raise ValueError("its step is no number of steps")
    if not _is_count(content["world"]) or content["world"] == 0:
        raise ValueError("its world is no number of ranks")
    for key, kind in (("written_at", str), ("is_best", bool), ("facts", dict), ("files", list)):
        if not isinstance(content[key], kind):
            raise ValueError(f"its {key} is of the wrong type")
    files = [_checked_file(entry) for entry in content["files"]]
    if len({file.name for file in files}) != len(files):
        raise ValueError("it lists a file twice")
    return Manifest(**{key: content[key] for key in wanted - {"format", "files"}}, files=files)


def _checked_file(entry: object) -> Written:
    if not isinstance(entry, dict) or entry.keys() != {"name", "size", "sha256"}:
        raise ValueError("an entry of its files is no name, size and sha256")
    if not is_plain_name(entry["name"]):
        raise ValueError(f"{str(entry['name'])[:80]!r} is no name for a file of a checkpoint")
    if not _is_count(entry["size"]) or not isinstance(entry["sha256"], str) or not SHA256.fullmatch(entry["sha256"]):
        raise ValueError(f"size or sha256 of {entry['name']} is malformed")
    return Written(**entry)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
