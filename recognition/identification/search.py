"""Probes against a gallery: who is nearest, and at which rank the right person comes, block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recognition.errors import InputError

BLOCK_COSINES = 1 << 24  # 64 MB at a time
# Cosines that are no farther apart are equal: a product of matrices adds in another order at its edges, so that two
# equal rows may differ by the rounding of float32, which is below 3e-7 for sums of 512 products.
TIE = 1e-6


@dataclass(frozen=True)
class Searched:
    """What became of Q probes. Rows are those of the gallery; what a stranger has not is rank 0, row -1 and NaN.

    `best_Q`, `best_row_Q`: the highest cosine and whose it is; `own_Q`, `own_row_Q`: the right person's; `rank_Q`:
    1 + the entries of others that are at least as alike (ties, to TIE, count against the right one); `precision_Q`: the
    average over the right person's entries of the share of right ones among all that are at least as alike.
    """

    best_Q: np.ndarray
    best_row_Q: np.ndarray
    own_Q: np.ndarray
    own_row_Q: np.ndarray
    rank_Q: np.ndarray
    precision_Q: np.ndarray

    @property
    def mated_Q(self) -> np.ndarray:
        """Which probes show somebody in the gallery."""
        return self.rank_Q > 0


def search_gallery(
    gallery_GD: np.ndarray, person_G: np.ndarray, probe_QD: np.ndarray, person_Q: np.ndarray
) -> Searched:
    """Compare float32 probes (Q, D) with all entries (G, D), of any norm, and see who is found; labels int64.

    A probe whose label no entry has is a stranger. InputError for embeddings that are not finite, and an empty gallery.
    """
    if not len(gallery_GD):
        raise InputError("the gallery is empty; enrol somebody")
    gallery, probes = _unit(gallery_GD, "gallery entries"), _unit(probe_QD, "probes")
    found = Searched(
        np.full(len(probes), -np.inf, np.float32),
        np.full(len(probes), -1),
        np.full(len(probes), np.nan, np.float32),
        np.full(len(probes), -1),
        np.zeros(len(probes), np.int64),
        np.full(len(probes), np.nan),
    )
    by_person = np.argsort(person_G, kind="stable")
    sorted_person_G = np.asarray(person_G)[by_person]
    first_Q, last_Q = (np.searchsorted(sorted_person_G, person_Q, side=side) for side in ("left", "right"))
    block = max(BLOCK_COSINES // len(gallery), 1)
    for start in range(0, len(probes), block):
        cos_BG = (probes[start : start + block] @ gallery.T).numpy()
        best_B = cos_BG.argmax(axis=1)
        found.best_row_Q[start : start + block] = best_B
        found.best_Q[start : start + block] = cos_BG[np.arange(len(cos_BG)), best_B]
        for row, cos_G in enumerate(cos_BG):
            probe = start + row
            own = by_person[first_Q[probe] : last_Q[probe]]
            if len(own):
                _place(found, probe, cos_G, own)
    return found


def _place(found: Searched, probe: int, cos_G: np.ndarray, own: np.ndarray) -> None:
    """Write down where the right person's entries `own` stand among all."""
    own = own[np.argsort(-cos_G[own], kind="stable")]
    # Of equals the others come first. Entries of one's own are as alike as those before them, or less.
    least_O = cos_G[own] - np.float32(TIE)
    at_least_as_alike = np.array([(cos_G >= least).sum() for least in least_O])
    own_at_least = np.searchsorted(-cos_G[own], -least_O, side="right")
    others = at_least_as_alike - own_at_least
    found.own_Q[probe], found.own_row_Q[probe] = cos_G[own[0]], own[0]
    found.rank_Q[probe] = 1 + others[0]
    right = np.arange(1, len(own) + 1)
    found.precision_Q[probe] = np.mean(right / (right + others))


def enrolled(emb_ND: np.ndarray, person_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One entry for each person: the mean of their unit embeddings, float32 (P, D), and the labels, ascending (P,)."""
    unit_ND = _unit(emb_ND, "gallery pictures").numpy()
    people, index = np.unique(person_N, return_inverse=True)
    sum_PD = np.zeros((len(people), unit_ND.shape[1]), np.float32)
    np.add.at(sum_PD, index, unit_ND)
    return sum_PD / np.bincount(index)[:, None].astype(np.float32), people


def _unit(emb_ND: np.ndarray, what: str) -> torch.Tensor:
    emb = torch.from_numpy(np.ascontiguousarray(emb_ND, np.float32))
    if not torch.isfinite(emb).all():
        row = int((~torch.isfinite(emb).all(dim=1)).nonzero()[0])
        raise InputError(
            f"embeddings of {what} are NaN or infinite, first number {row}; the network has diverged or its weights "
            "are damaged"
        )
    return torch.nn.functional.normalize(emb)
