"""What the checkpoints of all trainers are: one .pth file of tensors, numbers and texts by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recognition.errors import InputError


@dataclass(frozen=True, eq=False)
class TorchCheckpoint:
    """Where a checkpoint lies, and what is in it."""

    path: Path
    content: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the run, as JSON has them."""
        return self["settings"]


def is_of(content: Any, form: str) -> bool:
    """Whether a file's content says that it is of that format."""
    return isinstance(content, dict) and content.get("format") == form


def require_parts(path: Path, content: Any, *, form: str, keys: Sequence[str], made_by: str) -> None:
    """InputError for a file of another format, or one that lacks a part; `made_by` is the command that writes them."""
    if not is_of(content, form):
        raise InputError(f"{path} is no checkpoint of {made_by} (it does not say format {form})")
    if missing := [key for key in keys if key not in content]:
        raise InputError(f"{path} lacks {', '.join(missing)}: it is damaged")


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights; InputError, with the file, for those of another network."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit this network: {' '.join(str(error).split())[:300]}") from error
