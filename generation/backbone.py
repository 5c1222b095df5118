"""A recogniser that something else uses: nothing of it ever changes, and gradients pass through it to its pictures."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recognition.backbones.mobilefacenet import MobileFaceNet
from recognition.backbones.precision import full_precision
from recognition.embedding.models import open_embedder
from recognition.embedding.preprocess import OURS, Preprocess, apply
from recognition.errors import InputError

STAGES = ("layer1", "layer2", "layer3", "layer4")  # of an IResNet, each at half the resolution of the one before


class Taps(NamedTuple):
    """What a recogniser sees on the way: feature maps at 1/2, 1/4, 1/8 and 1/16 of the resolution, and the embedding.

    Of an IResNet at 112 pixels (B, 64, 56, 56), (B, 128, 28, 28), (B, 256, 14, 14), (B, 512, 7, 7) and (B, 512).
    """

    layers: tuple[Tensor, Tensor, Tensor, Tensor]
    emb_BD: Tensor


class FrozenBackbone(nn.Module):
    """A recogniser as a constant: RGB pictures in [0, 1] (B, 3, S, S) -> embeddings (B, D), differentiable in them.

    Its network is not among the submodules of what holds it: no optimizer, no state dict, no `train()`, no cast to half
    precision of a parent reaches it; only moves between devices do. It computes in its own precision whatever autocast
    says, and prepares its pictures itself (`preprocess`). For no graph at all, call it under `torch.no_grad()`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        image_size: int = 112,
        preprocess: Preprocess = OURS,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # Not by attribute, which would make it a submodule.
        self.__dict__["network"] = network.eval().requires_grad_(False)
        self.image_size, self.preprocess, self.facts = image_size, preprocess, facts or {}

    @classmethod
    def open(
        cls, path: str | PathLike, network: str | None = None, *, preprocess: str | Preprocess | None = None
    ) -> FrozenBackbone:
        """From a run directory, a checkpoint, safetensors, or weights of arcface_torch (`network`: its architecture).

        InputError as of `open_embedder`, and for a file that no gradient can pass, such as ONNX.
        """
        opened = open_embedder(path, network, preprocess=preprocess)
        module = opened.network.module
        if module is None:
            raise InputError(f"{path} runs outside torch, so no gradient passes it; give the weights it was made from")
        side = opened.size[0] if opened.size else 112
        return cls(module, image_size=side, preprocess=opened.preprocess, facts=opened.facts)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self._weight.device

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.facts.get("embedding_size") or self._look().shape[1]

    def forward(self, img01_BCHW: Tensor) -> Tensor:
        """Embeddings (B, D), not normalised; InputError for pictures of another shape."""
        with full_precision(img01_BCHW.device):
            return self.network(self._prepared(img01_BCHW))

    def taps(self, img01_BCHW: Tensor) -> Taps:
        """The same with the feature maps on the way; InputError for a network that has none (ViT)."""
        maps: list[Tensor] = []
        hooks = [stage.register_forward_hook(lambda _, __, out: maps.append(out)) for stage in self._stages()]
        try:
            emb_BD = self(img01_BCHW)
        finally:
            for hook in hooks:
                hook.remove()
        return Taps(tuple(maps), emb_BD)

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Stays as it is: in eval mode."""
        return self

    def requires_grad_(self, requires_grad: bool = True) -> FrozenBackbone:
        """Stays as it is: frozen."""
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenBackbone:
        def moved(tensor: Tensor) -> Tensor:
            out = fn(tensor)
            return out if out.dtype == tensor.dtype else tensor.to(out.device)

        self.network._apply(moved)
        return self

    @property
    def _weight(self) -> Tensor:
        return next(self.network.parameters())

    def _prepared(self, img01_BCHW: Tensor) -> Tensor:
        shape = tuple(img01_BCHW.shape)
        if len(shape) != 4 or shape[1] != 3 or shape[2:] != (self.image_size, self.image_size):
            raise InputError(
                f"pictures of shape {shape} do not fit a recogniser of (B, 3, {self.image_size}, {self.image_size}); "
                "crop and align the faces first (generation/alignment.py)"
            )
        return apply(self.preprocess, img01_BCHW.to(self._weight.dtype) * 2 - 1)

    def _stages(self) -> list[nn.Module]:
        if isinstance(self.network, MobileFaceNet):
            return [self.network.layers[place] for place in (1, 3, 5, 7)]
        if all(hasattr(self.network, name) for name in STAGES):
            return [getattr(self.network, name) for name in STAGES]
        kind = type(self.network).__name__
        raise InputError(f"a {kind} has no feature maps at four resolutions; use an IResNet or a MobileFaceNet")

    @torch.no_grad()
    def _look(self) -> Tensor:
        return self(torch.zeros(1, 3, self.image_size, self.image_size, device=self.device))
