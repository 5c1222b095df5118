"""Networks that figures are comparable by: the file that was published, and which file a user gave in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from recognition.embedding.network import file_sha256
from recognition.errors import InputError
from recognition.weights import read_torch_file


@dataclass(frozen=True)
class Published:
    """A file of weights: its name, where it comes from, on which terms, and the SHA-256 of its bytes."""

    network: str
    file: str
    url: str
    licence: str
    sha256: str

    def how(self, flag: str) -> str:
        """What is missing where the user gave no file."""
        return f"needs {flag} {self.file}, from {self.url} ({self.licence}), SHA-256 {self.sha256}"

    def name_of(self, path: Path) -> str:
        """What a report says figures by the file are by; another file than the published one is named as such."""
        sha256 = file_sha256(path)
        if sha256 == self.sha256:
            return self.network
        return f"{self.network}, of other weights than the published: {path.name}, SHA-256 {sha256[:12]}..."


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of torch.save; InputError where there is none."""
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    state = read_torch_file(path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state dict")
    return state


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Make the tensors of a file those of a network, and freeze it; those that it has no use for are left out.

    InputError, with the first that is missing or of another shape.
    """
    wanted = module.state_dict()
    for key, tensor in wanted.items():
        if key.endswith("num_batches_tracked"):
            continue
        if key not in state:
            raise InputError(f"{path} holds no {key}: it is of another network")
        if state[key].shape != tensor.shape:
            raise InputError(f"{path}: {key} is {(*state[key].shape,)}, not {(*tensor.shape,)}: of another network")
    found = {key: state[key].float() if key in state else torch.zeros_like(wanted[key], device="cpu") for key in wanted}
    module.load_state_dict(found, assign=True)
    module.eval().requires_grad_(False)
