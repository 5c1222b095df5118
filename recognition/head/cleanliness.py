"""How clean labels are, from cosines: streams of target cosines, centres that wrong labels hardly move, neighbours.

N images of a set, C identities, D embedding. Images come in blocks, so embeddings may be a memory map; what is kept are
numbers per image and per identity. Cosines to centres say three things: an image nearer to another identity than to its
own is probably mislabelled, one far from all is no picture of anybody, two identities with one centre are one person.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recognition.errors import InputError

BINS = 64
IMAGES_AT_ONCE = 1024
CLASSES_AT_ONCE = 8192


class TargetCosines:
    """Running record of target cosines: per image their mean, per identity mean, count and low quantile.

    12 bytes an image and 4 * BINS + 16 bytes an identity, however long the stream; the order of the batches does not
    matter. A quantile is off by at most one bin, 2 / BINS.
    """

    def __init__(self, num_images: int, num_classes: int) -> None:
        self.image_sum_N = np.zeros(num_images)
        self.image_count_N = np.zeros(num_images, np.uint32)
        self.sum_C = np.zeros(num_classes)
        self.count_C = np.zeros(num_classes, np.int64)
        self._histogram_CH = np.zeros((num_classes, BINS), np.uint32)

    def add(self, ids_B: np.ndarray, labels_B: np.ndarray, cos_B: np.ndarray) -> None:
        """One batch: image ids, labels (int64) and cosines to the own centre; InputError for a cosine that is none."""
        if not (np.abs(cos_B) <= 1 + 1e-3).all():  # NaN compares false
            bad = int(np.flatnonzero(~(np.abs(cos_B) <= 1 + 1e-3))[0])
            raise InputError(f"image {ids_B[bad]}: target cosine {cos_B[bad]} is none; check embeddings and centres")
        np.add.at(self.image_sum_N, ids_B, cos_B)
        np.add.at(self.image_count_N, ids_B, 1)
        np.add.at(self.sum_C, labels_B, cos_B)
        np.add.at(self.count_C, labels_B, 1)
        bins = np.clip((np.asarray(cos_B, np.float64) + 1) * (BINS / 2), 0, BINS - 1).astype(np.int64)
        np.add.at(self._histogram_CH, (labels_B, bins), 1)

    def image_mean(self) -> np.ndarray:
        """Mean cosine of each image, float64 (N,); NaN where none was seen."""
        return _ratio(self.image_sum_N, self.image_count_N)

    def mean(self) -> np.ndarray:
        """Mean cosine of each identity, float64 (C,); NaN where none was seen."""
        return _ratio(self.sum_C, self.count_C)

    def quantile(self, share: float) -> np.ndarray:
        """The cosine below which `share` of each identity's lie, float64 (C,), even within a bin; NaN without any."""
        low_C = np.full(len(self.count_C), np.nan)
        for start in range(0, len(low_C), CLASSES_AT_ONCE):
            counts_KH = self._histogram_CH[start : start + CLASSES_AT_ONCE].astype(np.int64)
            below_KH = counts_KH.cumsum(1)
            wanted_K = share * below_KH[:, -1]
            bin_K = np.minimum((below_KH <= wanted_K[:, None]).sum(1), BINS - 1)
            rows = np.arange(len(bin_K))
            inside_K = counts_KH[rows, bin_K]
            into_K = _ratio(wanted_K - (below_KH[rows, bin_K] - inside_K), inside_K)
            # A share of 1 ends above the last bin that holds any.
            last_K = BINS - counts_KH[:, ::-1].astype(bool).argmax(1)
            value_K = np.where(inside_K > 0, bin_K + into_K, last_K) * (2 / BINS) - 1
            low_C[start : start + CLASSES_AT_ONCE] = np.where(below_KH[:, -1] > 0, value_K, np.nan)
        return low_C


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def robust_centers(
    emb_ND: np.ndarray,
    labels_N: np.ndarray,
    num_classes: int,
    *,
    trim: float = 0.3,
    rounds: int = 1,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Unit centres (C, D), float32: per class the mean direction without the share `trim` of images farthest from it.

    Trimming starts from the plain mean and is repeated `rounds` times, the concentration steps of Rousseeuw and Van
    Driessen 1999 (FAST-MCD) on the sphere; ceil((1 - trim) * n) of n images stay. A class without images has centre 0.
    """
    if not 0 <= trim < 1:
        raise InputError(f"trim={trim} must lie in [0, 1): the share of each identity's images that is left out")
    kept_N = np.ones(len(labels_N), bool)
    centers_CD = _mean_directions(emb_ND, labels_N, kept_N, num_classes, device)
    for _ in range(rounds):
        own_N = own_cosines(emb_ND, labels_N, centers_CD)
        kept_N = _rank_in_class(-own_N, labels_N) < np.ceil((1 - trim) * np.bincount(labels_N)[labels_N] - 1e-9)
        centers_CD = _mean_directions(emb_ND, labels_N, kept_N, num_classes, device)
    return centers_CD


def own_cosines(emb_ND: np.ndarray, labels_N: np.ndarray, centers_CD: Tensor) -> np.ndarray:
    """Cosine, float32 (N,), of each image to the unit centre of its label."""
    own_N = np.empty(len(labels_N), np.float32)
    for block, x_BD, labels_B in unit_blocks(emb_ND, labels_N, centers_CD.device):
        own_N[block] = (x_BD * centers_CD[labels_B]).sum(1).cpu().numpy()
    return own_N


class Neighbours(NamedTuple):
    """Per image: cosine to its own centre and to the nearest other one (float32), and that one's label (int64)."""

    own_N: np.ndarray
    other_N: np.ndarray
    nearest_N: np.ndarray


def nearest_others(emb_ND: np.ndarray, labels_N: np.ndarray, centers_CD: Tensor) -> Neighbours:
    """Compare every image with all unit centres, in blocks of both; a centre of 0 counts as none."""
    count = len(labels_N)
    found = Neighbours(np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.int64))
    empty_C = centers_CD.norm(dim=1) == 0
    for block, x_BD, labels_B in unit_blocks(emb_ND, labels_N, centers_CD.device):
        best_B = torch.full((len(x_BD),), -torch.inf, device=x_BD.device)
        nearest_B = torch.full_like(labels_B, -1)
        for start in range(0, len(centers_CD), CLASSES_AT_ONCE):
            cos_BK = x_BD @ centers_CD[start : start + CLASSES_AT_ONCE].T
            cos_BK.masked_fill_(empty_C[start : start + CLASSES_AT_ONCE], -torch.inf)
            here_B = torch.nonzero((labels_B >= start) & (labels_B < start + cos_BK.shape[1]))[:, 0]
            cos_BK[here_B, labels_B[here_B] - start] = -torch.inf
            value_B, place_B = cos_BK.max(1)
            nearest_B = torch.where(value_B > best_B, place_B + start, nearest_B)
            best_B = torch.maximum(best_B, value_B)
        found.own_N[block] = (x_BD * centers_CD[labels_B]).sum(1).cpu().numpy()
        found.other_N[block] = best_B.cpu().numpy()
        found.nearest_N[block] = nearest_B.cpu().numpy()
    return found


def similar_centers(centers_CD: Tensor, threshold: float, *, most: int = 100_000) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of classes, int64 (P, 2) with the smaller first, whose unit centres' cosine (float32, P) is >= threshold.

    The most similar first, at most `most` of them; memory does not grow with the number of classes.
    """
    pairs_P2, cos_P = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    size = CLASSES_AT_ONCE // 4
    for first in range(0, len(centers_CD), size):
        for second in range(first, len(centers_CD), size):
            cos_KK = centers_CD[first : first + size] @ centers_CD[second : second + size].T
            hits_KK = cos_KK >= threshold
            if first == second:
                hits_KK.triu_(1)
            rows, columns = torch.nonzero(hits_KK, as_tuple=True)
            if not len(rows):
                continue
            found_P2 = torch.stack([rows + first, columns + second], 1).cpu().numpy()
            pairs_P2 = np.concatenate([pairs_P2, found_P2])
            cos_P = np.concatenate([cos_P, cos_KK[rows, columns].cpu().numpy()])
            order = np.argsort(-cos_P, kind="stable")[:most]
            pairs_P2, cos_P = pairs_P2[order], cos_P[order]
    return pairs_P2, cos_P


def unit_blocks(
    emb_ND: np.ndarray, labels_N: np.ndarray, device: torch.device | str
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """(where, unit embeddings float32 (B, D), labels (B,)) on `device`, a block of images at a time."""
    for start in range(0, len(labels_N), IMAGES_AT_ONCE):
        block = slice(start, min(start + IMAGES_AT_ONCE, len(labels_N)))
        x_BD = torch.from_numpy(np.array(emb_ND[block], np.float32)).to(device)
        yield block, F.normalize(x_BD), torch.from_numpy(np.array(labels_N[block], np.int64)).to(device)


def _mean_directions(
    emb_ND: np.ndarray, labels_N: np.ndarray, kept_N: np.ndarray, num_classes: int, device: torch.device | str
) -> Tensor:
    sums_CD = torch.zeros(num_classes, emb_ND.shape[1], device=device)
    for block, x_BD, labels_B in unit_blocks(emb_ND, labels_N, device):
        kept_B1 = torch.from_numpy(kept_N[block]).to(device)[:, None]
        sums_CD.index_add_(0, labels_B, x_BD * kept_B1)
    return F.normalize(sums_CD)


def _rank_in_class(values_N: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """Rank (0 = smallest value) of each image among those of its class."""
    order = np.lexsort((values_N, labels_N))
    sorted_N = labels_N[order]
    rank_N = np.empty(len(order), np.int64)
    rank_N[order] = np.arange(len(order)) - np.searchsorted(sorted_N, sorted_N)
    return rank_N
