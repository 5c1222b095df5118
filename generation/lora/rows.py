"""The list of samples: a JSON object in each line, whose paths are relative to the file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation.identity.gate import FACE_DATA_TYPES
from recognition.checkpoint.manifest import parsed_json
from recognition.errors import InputError

PATHS = ("image", "ref_image", "prompt_embeds", "pooled_embeds")
KEYS = (*PATHS, "prompt", "data_type")
PROMPT_SUFFIXES = (".safetensors", ".npy")


@dataclass(frozen=True)
class Row:
    """A line of the list: `where` names it in messages; texts are as in the file, `folder` is what paths start from."""

    where: str
    folder: Path
    image: str
    data_type: str
    ref_image: str | None = None
    prompt_embeds: str | None = None
    pooled_embeds: str | None = None
    prompt: str | None = None

    @property
    def wants_face(self) -> bool:
        """Whether samples of this kind are to have the face of their reference."""
        return self.data_type in FACE_DATA_TYPES

    def path(self, key: str) -> Path:
        """The file that a key names; InputError unless it is there."""
        path = self.folder / getattr(self, key)
        if not path.is_file():
            raise InputError(f"{self.where}: {key} {path} is no file; correct the path, or take the line out")
        return path


def read_rows(path: Path, *, needs_references: bool, has_text_encoders: bool) -> tuple[list[Row], list[InputError]]:
    """The good lines in their order, and what is wrong with the others; empty lines are left out.

    `needs_references`: samples with a face loss must have `ref_image`. InputError for a file that cannot be read, or
    has no line at all.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"data={path} cannot be read ({error.strerror}); name a file of JSON lines") from error
    rows, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _row(line, f"{path}:{number}", path.parent, has_text_encoders)
            if needs_references and row.wants_face and row.ref_image is None:
                raise InputError(
                    f"{row.where}: data_type {row.data_type!r} has a face loss, which needs ref_image: a picture of "
                    "that person; add it, or choose another data_type"
                )
            rows.append(row)
        except InputError as error:
            problems.append(error)
    if not rows and not problems:
        raise InputError(f"data={path} has no line; each is a JSON object with {', '.join(KEYS)}")
    return rows, problems


def _row(line: bytes, where: str, folder: Path, has_text_encoders: bool) -> Row:
    try:
        entry = parsed_json(line)
    except ValueError as error:
        raise InputError(f"{where}: it is no JSON ({error}); write one object a line") from error
    if not isinstance(entry, dict):
        raise InputError(f"{where}: it is no JSON object; write {{...}} with keys {', '.join(KEYS)}")
    for key, value in entry.items():
        if key not in KEYS:
            nearest = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.0)[0]
            raise InputError(f"{where}: unknown key {key!r}; did you mean {nearest!r}? Keys: {', '.join(KEYS)}")
        if value is not None and (not isinstance(value, str) or (key != "prompt" and not value)):
            raise InputError(f"{where}: {key} wants text, not {value!r}")
    given = {key: value for key, value in entry.items() if value is not None}
    for key in ("image", "data_type"):
        if key not in given:
            raise InputError(f"{where}: {key} is missing; add it")
    _require_prompt(given, where, has_text_encoders)
    return Row(where, folder, **given)


def _require_prompt(given: dict[str, Any], where: str, has_text_encoders: bool) -> None:
    """InputError unless there is exactly one prompt that can be had."""
    embeds = given.get("prompt_embeds")
    if (embeds is None) == ("prompt" not in given):
        raise InputError(f"{where}: give one of prompt_embeds (a file) and prompt (text), not both or neither")
    if "prompt" in given and not has_text_encoders:
        raise InputError(
            f"{where}: prompt is text, and text_encoders is not set; set it to the pipeline's folder, or give "
            "prompt_embeds"
        )
    if embeds is not None and Path(embeds).suffix not in PROMPT_SUFFIXES:
        raise InputError(f"{where}: prompt_embeds {embeds} is neither {' nor '.join(PROMPT_SUFFIXES)}")
    is_array = embeds is not None and Path(embeds).suffix == ".npy"
    if is_array != ("pooled_embeds" in given):
        raise InputError(
            f"{where}: an .npy of prompt_embeds goes with an .npy of pooled_embeds, a .safetensors has both"
        )
