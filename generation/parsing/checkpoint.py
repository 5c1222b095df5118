"""Checkpoints of parsing runs: one .pth each, tensors, numbers and texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from generation.parsing.bisenet import BiSeNet
from generation.run_folder import checkpoint_at
from recognition.errors import InputError
from recognition.weights import read_torch_file

FORMAT = "arcscale.parsing.1"
KEYS = ("step", "settings", "classes", "data_sha256", "net", "optimizer", "small", "history", "best", "world")


@dataclass(frozen=True, eq=False)
class ParsingCheckpoint:
    """What is in a checkpoint, by the names in KEYS."""

    path: Path
    content: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the run (config.py), as JSON has them."""
        return self["settings"]

    def parser(self) -> BiSeNet:
        """The network, in evaluation, without gradients of its weights."""
        net = new_net(self.settings, len(self["classes"]))
        fill(net, self["net"], self.path)
        return net.eval().requires_grad_(False)


def new_net(settings: Mapping[str, Any], n_classes: int) -> BiSeNet:
    """A network as a run's settings have it."""
    return BiSeNet(n_classes, width=settings["width"], enlarge=settings["enlarge"])


def fill(net: BiSeNet, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights; InputError, with the file, for those of another network."""
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit this network: {' '.join(str(error).split())[:300]}") from error


def read_checkpoint(path: str | PathLike) -> ParsingCheckpoint:
    """Read a checkpoint, or the newest one in a run's folder; InputError for what is none."""
    path = checkpoint_at(Path(path), "a parsing run")
    content = read_torch_file(path)
    if not is_checkpoint(content):
        raise InputError(f"{path} is no checkpoint of launch/parsing.py train (it does not say format {FORMAT})")
    return checked(path, content)


def is_checkpoint(content: Any) -> bool:
    """Whether a file holds a run's checkpoint, and not weights alone."""
    return isinstance(content, dict) and content.get("format") == FORMAT


def checked(path: Path, content: Mapping[str, Any]) -> ParsingCheckpoint:
    """The checkpoint of that content; InputError where something of it is missing."""
    if missing := [key for key in KEYS if key not in content]:
        raise InputError(f"{path} lacks {', '.join(missing)}: it is damaged")
    return ParsingCheckpoint(path, content)
