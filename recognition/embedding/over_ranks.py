"""Embeddings of many pictures, with the work split over all ranks and the whole result on each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from recognition.collectives import all_gather, all_reduce_max, gather_text
from recognition.data.pictures import Pictures, batches_of
from recognition.data.transforms import to_input
from recognition.errors import InputError
from recognition.runtime import Runtime


@dataclass(frozen=True)
class Embeddings:
    """N embeddings, float32 (N, D), f(x) + f(mirrored x) and not normalised; `xnorm` is the mean length of all f."""

    emb_ND: np.ndarray
    xnorm: float


@torch.inference_mode()
def embed_images(
    embed: Callable[[Tensor], Tensor],
    images: Pictures,
    *,
    runtime: Runtime,
    batch_size: int = 64,
    title: str = "images",
) -> Embeddings:
    """Embed N pictures, uint8 (H, W, 3) RGB; every rank passes the same ones, reads its share, and gets all N rows.

    `embed` maps (B, 3, H, W) in [-1, 1] on `runtime.device` to (B, D). An `nn.Module` is put into eval mode for the
    duration. Ranks take whole batches, so the same batches are formed, and the same numbers come out, for any world.
    InputError, on every rank, for a picture that any of them cannot read.
    """
    if not len(images):
        raise InputError(f"{title}: there are no pictures to embed")
    if isinstance(images, np.ndarray) and (images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8):
        raise InputError(f"images are {images.dtype} {images.shape}; expected uint8 (N, H, W, 3)")
    per_rank = -(-len(images) // batch_size // runtime.world) * batch_size
    first = runtime.rank * per_rank
    starts = range(first, min(first + per_rank, len(images)), batch_size)
    rows = []  # (B, D + 1): the embeddings, and beside them the sum of the lengths over both views
    runtime.at(f"embedding {title}")
    failure = None
    try:
        with evaluating(embed):
            batches = batches_of(images, starts, batch_size)
            hidden = None if runtime.is_main else True  # None: hidden unless a terminal watches
            for batch_BHWC in tqdm(
                batches, f"embedding {title}", len(starts), delay=2, leave=False, disable=hidden, unit="batch"
            ):
                rows.append(_both_views(embed, torch.from_numpy(batch_BHWC).to(runtime.device)))
    except InputError as error:
        failure = error
    # Ranks may take longer over their shares than a collective waits.
    runtime.wait_for_all(f"the embeddings of {title}")
    said = [text for text in gather_text(str(failure or ""), runtime, what="what went wrong") if text]
    if said:
        raise InputError(said[0]) from failure
    gathered_NE = _gather_rows(rows, per_rank, runtime)[: len(images)].cpu().numpy()
    return Embeddings(gathered_NE[:, :-1].copy(), float(gathered_NE[:, -1].mean(dtype=np.float64)) / 2)


def _both_views(embed: Callable[[Tensor], Tensor], images_BHWC: Tensor) -> Tensor:
    """Sum of the embeddings of the pictures and of their mirror images; last column: sum of the embeddings' lengths."""
    x_BCHW = to_input(images_BHWC)
    emb_BD, mirrored_BD = embed(x_BCHW).float(), embed(x_BCHW.flip(3)).float()
    lengths_B1 = emb_BD.norm(dim=1, keepdim=True) + mirrored_BD.norm(dim=1, keepdim=True)
    return torch.cat([emb_BD + mirrored_BD, lengths_B1], dim=1)


def _gather_rows(rows: list[Tensor], per_rank: int, runtime: Runtime) -> Tensor:
    """All ranks' rows in rank order, each rank's share padded to `per_rank`; a rank without work only pads."""
    width = all_reduce_max(torch.tensor(rows[0].shape[1] if rows else 0, device=runtime.device), runtime, what="widths")
    padded_RE = torch.zeros(per_rank, int(width), device=runtime.device)
    if rows:
        own_RE = torch.cat(rows)
        padded_RE[: len(own_RE)] = own_RE
    return all_gather(padded_RE, runtime, what="embeddings")


@contextmanager
def evaluating(embed: Callable) -> Iterator[None]:
    """Put a module and all its parts into eval mode inside the block; each part gets its own mode back after it."""
    if not isinstance(embed, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in embed.modules()]
    embed.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
