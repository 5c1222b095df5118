"""Checkpoints of parsing runs: one .pth each, tensors, numbers and texts."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from generation.parsing.bisenet import BiSeNet
from generation.run_folder import checkpoint_at
from generation.torch_checkpoint import TorchCheckpoint, fill, is_of, require_parts
from recognition.weights import read_torch_file

FORMAT = "arcscale.parsing.1"
KEYS = ("step", "settings", "classes", "data_sha256", "net", "optimizer", "small", "history", "best", "world")


class ParsingCheckpoint(TorchCheckpoint):
    """What is in a checkpoint, by the names in KEYS."""

    def parser(self) -> BiSeNet:
        """The network, in evaluation, without gradients of its weights."""
        net = new_net(self.settings, len(self["classes"]))
        fill(net, self["net"], self.path)
        return net.eval().requires_grad_(False)


def new_net(settings: Mapping[str, Any], n_classes: int) -> BiSeNet:
    """A network as a run's settings have it."""
    return BiSeNet(n_classes, width=settings["width"], enlarge=settings["enlarge"])


def read_checkpoint(path: str | PathLike) -> ParsingCheckpoint:
    """Read a checkpoint, or the newest one in a run's folder; InputError for what is none."""
    path = checkpoint_at(Path(path), "a parsing run")
    content = read_torch_file(path)
    return checked(path, content)


def is_checkpoint(content: Any) -> bool:
    """Whether a file holds a run's checkpoint, and not weights alone."""
    return is_of(content, FORMAT)


def checked(path: Path, content: Mapping[str, Any]) -> ParsingCheckpoint:
    """The checkpoint of that content; InputError for another format, and where something of it is missing."""
    require_parts(path, content, form=FORMAT, keys=KEYS, made_by="launch/parsing.py train")
    return ParsingCheckpoint(path, content)
