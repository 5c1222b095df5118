"""Embeddings, and how a model answers to a few pictures -> what is plainly wrong with it. All ranks find the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from recognition.data.pictures import Pictures
from recognition.embedding.finding import Finding, NoFigures
from recognition.embedding.over_ranks import embed_images
from recognition.runtime import Runtime
from recognition.spread import spread

CONSTANT_SPREAD = 1e-3  # as verification/protocol.py warns
COLLAPSED_COSINE = 0.9
COLLAPSED_RANK = 3.0
DEAD = 1e-6
MOST_ROWS = 1024
# Half precision is exact to 2^-11, and a deep network makes a few times that of it; dropout and batch statistics make
# tenths.
SAME = 1e-2
MIRROR_COSINE, MIRROR_LESS = 0.5, 0.2


def require_finite(emb_ND: np.ndarray) -> None:
    """NoFigures where embeddings (N, D) are NaN or infinite."""
    if finding := _not_finite(np.isfinite(emb_ND).all(axis=1)):
        raise NoFigures(finding)


def _not_finite(finite_N: np.ndarray) -> Finding | None:
    if finite_N.all():
        return None
    bad = np.flatnonzero(~finite_N)
    return Finding(
        "nan",
        f"{len(bad)} of {len(finite_N)} embeddings are NaN or infinite, those of pictures {_listed(bad)}",
        "the training diverged, the weights are damaged, or half precision overflows: "
        "try an earlier checkpoint, or the model in float32",
    )


def embedding_symptoms(emb_ND: np.ndarray) -> list[Finding]:
    """What embeddings (N, D) of different pictures say by themselves: not finite, zeros, all alike, dead dimensions."""
    emb_ND = np.asarray(emb_ND, np.float64)
    finite_N = np.isfinite(emb_ND).all(axis=1)
    finding = _not_finite(finite_N)
    findings = [] if finding is None else [finding]
    zero_N = finite_N & ~np.where(finite_N[:, None], emb_ND, 0).any(axis=1)
    if zero_N.any():
        bad = np.flatnonzero(zero_N)
        findings.append(
            Finding(
                "zero_embedding",
                f"{len(bad)} of {len(emb_ND)} embeddings are all zeros, those of pictures {_listed(bad)}",
                "look at these pictures; where it is all of them, the last layer's weights are zeros",
            )
        )
    rows_ND = emb_ND[finite_N & ~zero_N]
    return findings + (_alike(rows_ND[spread(len(rows_ND), MOST_ROWS)]) if len(rows_ND) > 1 else [])


def _alike(emb_ND: np.ndarray) -> list[Finding]:
    """Directions that hardly differ, few dimensions in use; rows are finite and not zero."""
    unit_ND = emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)
    mean_D = unit_ND.mean(axis=0)
    distance = float(np.sqrt(np.square(unit_ND - mean_D).sum(axis=1).mean()))
    if distance < CONSTANT_SPREAD:
        return [
            Finding(
                "constant_embedding",
                f"all {len(unit_ND)} pictures have nearly the same embedding (distance from their mean {distance:.1e})",
                "the network is untrained or has collapsed, or its pictures are not normalised as it expects: "
                "see --preprocess",
            )
        ]
    findings = []
    count, width = unit_ND.shape
    cosine = float((count * np.square(mean_D).sum() - 1) / (count - 1))  # mean over all pairs of different rows
    rank = effective_rank(unit_ND - mean_D)
    if cosine > COLLAPSED_COSINE or rank < COLLAPSED_RANK <= min(width, count - 1) / 2:
        findings.append(
            Finding(
                "collapsed",
                f"embeddings of different pictures are hardly apart: mean cosine {cosine:.3f}, "
                f"effective rank {rank:.1f} of {width} dimensions",
                "the network is untrained, its training collapsed (learning rate, margin), or its pictures are not "
                "prepared as it expects: see --preprocess",
            )
        )
    deviation_D = emb_ND.std(axis=0)
    dead = np.flatnonzero(deviation_D <= DEAD * deviation_D.max())
    if len(dead):
        findings.append(
            Finding(
                "dead_dimensions",
                f"{len(dead)} of {width} dimensions are the same for all pictures ({_listed(dead)})",
                "they cost room and say nothing: train with a smaller embedding_size, or look for weights of zero",
            )
        )
    return findings


def effective_rank(centred_ND: np.ndarray) -> float:
    """exp(entropy) of the singular values as shares of their sum: Roy and Vetterli, EUSIPCO 2007, eq. 4."""
    values = np.linalg.svd(centred_ND, compute_uv=False)
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def behaviour_symptoms(
    model: Callable[[Tensor], Tensor], images: Pictures, *, runtime: Runtime, genuine_cosine: float | None = None
) -> list[Finding]:
    """How `model` answers to the same pictures again, one at a time, and mirrored.

    `genuine_cosine`: the median cosine of two pictures of one person, both views added; None where it is not known.
    """
    # Both views of a picture see these three; their sum over the views is what embed_images gives.
    emb_N3 = embed_images(
        lambda x_BCHW: _answers(model, x_BCHW), images, runtime=runtime, batch_size=len(images), title="the same again"
    ).emb_ND
    if not np.isfinite(emb_N3).all():
        return []
    again, alone, mirror = (emb_N3 / 2).T
    if again.max() > SAME:
        return [
            Finding(
                "not_deterministic",
                f"the same pictures twice give different embeddings (they differ by {again.max():.2g} of their length)",
                "dropout or noise is still on: put the network into eval mode before it is exported or saved",
            )
        ]
    findings = []
    if alone.max() > SAME:
        findings.append(
            Finding(
                "batch_dependent",
                f"a picture's embedding depends on the others in its batch (it differs by {alone.max():.2g} of its "
                "length from that of the picture alone)",
                "BatchNorm still uses the statistics of the batch: put the network into eval mode before it is "
                "exported or saved",
            )
        )
    cosine = float(np.median(mirror))
    # What differs between two pictures of a person anyway, and is halved where both views are added, may also differ
    # between a picture and its mirror image: a cosine of g with both views is one of g / (2 - g) with one.
    usual = 1.0 if genuine_cosine is None else genuine_cosine / (2 - genuine_cosine)
    if cosine < min(MIRROR_COSINE, usual - MIRROR_LESS):
        findings.append(
            Finding(
                "mirror_sensitive",
                f"a picture and its mirror image are hardly alike (median cosine {cosine:.2f})",
                "embeddings here are f(x) + f(mirrored x), which such a model spoils: train with mirroring",
            )
        )
    return findings


def _answers(model: Callable[[Tensor], Tensor], x_BCHW: Tensor) -> Tensor:
    """(B, 3): how far the same again and alone are off, as shares of the length; cosine to the mirrored picture."""
    emb_BD = model(x_BCHW).float()
    length_B = emb_BD.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    again_B = (model(x_BCHW).float() - emb_BD).norm(dim=1) / length_B
    alone_BD = torch.cat([model(x_BCHW[row : row + 1]).float() for row in range(len(x_BCHW))])
    alone_B = (alone_BD - emb_BD).norm(dim=1) / length_B
    mirror_B = torch.cosine_similarity(emb_BD, model(x_BCHW.flip(3)).float(), dim=1)
    return torch.stack([again_B, alone_B, mirror_B], dim=1)


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(map(str, numbers[:5].tolist())) + (", ..." if len(numbers) > 5 else "")
