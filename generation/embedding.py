"""Embeddings of pictures by any recogniser, whatever size it takes."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

from torch import Tensor

from generation.pictures import resized
from recognition.embedding.models import open_embedder


def embed_with(recogniser: str | PathLike) -> Callable[[Tensor], Tensor]:
    """What maps img01 (B, 3, S, S) to embeddings (B, D), of a run, weights or an ONNX file; InputError for others."""
    embedder = open_embedder(recogniser)

    def embed(img01_BCHW: Tensor) -> Tensor:
        side = embedder.size[0] if embedder.size else img01_BCHW.shape[-1]
        return embedder(resized(img01_BCHW, side) * 2 - 1)

    return embed
