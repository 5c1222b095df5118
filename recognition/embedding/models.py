"""Any recogniser behind one call: a run directory, a checkpoint, weights, an ONNX file, a TorchScript archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recognition.embedding.network import Network
from recognition.embedding.onnx_model import open_onnx
from recognition.embedding.preprocess import (
    OURS,
    RAW,
    Preprocess,
    apply,
    given_values,
    parse_preprocess,
    stored_preprocess,
)
from recognition.embedding.torchscript_model import is_torchscript, open_torchscript
from recognition.errors import InputError
from recognition.weights import load_backbone


@dataclass(frozen=True)
class Embedder:
    """`embed(x_BCHW)` maps RGB pictures in [-1, 1] to float32 embeddings (B, D), whatever input the model itself wants.

    `size` is the (height, width) that the model takes, None for any; `facts` (JSON) is what is known about it;
    `preprocess` is what pictures go through before `network` sees them.
    """

    embed: Callable[[Tensor], Tensor]
    size: tuple[int, int] | None
    facts: dict[str, Any] = field(default_factory=dict)
    network: Network | None = None
    preprocess: Preprocess = OURS

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        return self.embed(x_BCHW)

    def require_size(self, height: int, width: int, what: str) -> None:
        """InputError unless the model takes pictures of this size; `what` says whose size it is."""
        if self.size not in (None, (height, width)):
            own = f"{self.size[1]}x{self.size[0]}"
            resize = f", or resize them with --preprocess size={self.size[0]}" if self.size[0] == self.size[1] else ""
            raise InputError(
                f"{what} has pictures of {width}x{height} pixels, but {self.facts['file']} takes {own}; "
                f"pack the pairs at {own}{resize}"
            )

    def fed(self, preprocess: Preprocess) -> Embedder:
        """The same network with its pictures prepared otherwise; `preprocess` says all but the size."""
        if self.network is None:
            raise InputError("this model is a bare function: how its pictures are prepared cannot be changed")
        return _fed(self.network, preprocess, self.facts["normalisation_from"])


def open_embedder(
    model: str | PathLike,
    network: str | None = None,
    *,
    preprocess: str | Preprocess | None = None,
    bgr: bool | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    device: torch.device | str = "cpu",
) -> Embedder:
    """Open a run directory, checkpoint, `.safetensors`, `.pt`, `.pth`, `.onnx` or TorchScript file on `device`.

    `bgr`, `mean` and `std` (pixel values, one or one for each channel as the model sees them) go before `preprocess`
    (see `parse_preprocess`), that before what the file says of itself: in its metadata, or by how an ONNX graph treats
    its input. Without all of these it is RGB, 127.5 and 127.5. InputError names the file and what does not fit.
    """
    recipe = parse_preprocess(preprocess) if isinstance(preprocess, str) else preprocess or Preprocess()
    order = None if bgr is None else "BGR" if bgr else "RGB"
    given = Preprocess(order, given_values("mean", mean), given_values("std", std)).over(recipe)
    opened = _open(Path(model), network, torch.device(device))
    said_from = opened.wants_from
    if opened.whole_pixels and (given.mean not in (None, RAW.mean) or given.std not in (None, RAW.std)):
        raise InputError(f"{model} takes pixels as bytes, which cannot be normalised; leave mean and std away")
    if (given.mean or given.std) and not opened.whole_pixels:
        said_from = "given"
    return _fed(opened, given.over(opened.wants).over(RAW if opened.whole_pixels else OURS), said_from)


def _open(path: Path, name: str | None, device: torch.device) -> Network:
    if path.suffix == ".onnx":
        return open_onnx(path, device)
    if is_torchscript(path):
        return open_torchscript(path, device)
    module, facts = load_backbone(path, name)
    size = (facts["image_size"], facts["image_size"])
    # load_backbone fills in what a .pt cannot say.
    said_from = "default" if Path(facts["file"]).suffix in (".pt", ".pth") else "metadata"
    module = module.to(device)
    return Network(module, size, facts, stored_preprocess(facts, str(path)), said_from, module=module)


def _fed(network: Network, preprocess: Preprocess, said_from: str) -> Embedder:
    """`network` behind that preprocessing, and the facts that say so."""
    facts = {**network.facts, **preprocess.facts(), "normalisation_from": said_from}
    facts["input_size"] = None if network.size is None else list(network.size)
    if network.why and said_from == network.wants_from:
        facts["normalisation_why"] = network.why
    if preprocess.size is not None and network.size not in (None, (preprocess.size, preprocess.size)):
        own = f"{network.size[1]}x{network.size[0]}"
        raise InputError(f"{facts.get('file')} takes {own} pixels; resizing to {preprocess.size} does not fit it")

    def embed(x_BCHW: Tensor) -> Tensor:
        return network.run(apply(preprocess, x_BCHW)).float()

    size = network.size if preprocess.size is None else None
    return Embedder(embed, size, facts, network, preprocess)
