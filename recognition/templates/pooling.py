"""Embeddings of pictures -> embeddings of templates: a mean over each media, a sum over media, length 1."""

from __future__ import annotations

import numpy as np

BLOCK_ROWS = 1 << 16


def pool_templates(
    emb_ND: np.ndarray, template_N: np.ndarray, media_N: np.ndarray, score_N: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Template embeddings float32 (T, D) of length 1 and their ids, ascending (T,).

    Pictures of one media (the frames of a video) are averaged, the media of a template summed, as IJB's evaluation of
    InsightFace does; `score_N` (of the detector) first weighs each picture. A template of zeros stays zeros.
    """
    order_N = np.lexsort((media_N, template_N))
    template_N, media_N = template_N[order_N], media_N[order_N]
    new_media_N = np.r_[True, (np.diff(template_N) != 0) | (np.diff(media_N) != 0)]
    starts_M = np.flatnonzero(new_media_N)
    counts_M = np.diff(np.r_[starts_M, len(order_N)])
    templates_T, starts_T = np.unique(template_N[starts_M], return_index=True)
    out_TD = np.empty((len(templates_T), emb_ND.shape[1]), np.float32)
    ends_T = np.r_[starts_T[1:], len(starts_M)]
    first = 0
    while first < len(templates_T):
        # Whole templates at a time, so that weighed copies of the pictures stay small.
        limit = starts_M[starts_T[first]] + BLOCK_ROWS
        past = int(np.searchsorted(np.r_[starts_M, len(order_N)][ends_T], limit, side="right"))
        last = max(past, first + 1)
        media = slice(starts_T[first], ends_T[last - 1])
        rows = slice(starts_M[media.start], np.r_[starts_M, len(order_N)][media.stop])
        chosen = order_N[rows]
        part_ND = emb_ND[chosen].astype(np.float64)
        if score_N is not None:
            part_ND *= score_N[chosen, None]
        media_MD = np.add.reduceat(part_ND, starts_M[media] - rows.start) / counts_M[media, None]
        sum_TD = np.add.reduceat(media_MD, starts_T[first:last] - media.start)
        norm_T1 = np.linalg.norm(sum_TD, axis=1, keepdims=True)
        out_TD[first:last] = sum_TD / np.where(norm_T1 == 0, 1, norm_T1)
        first = last
    return out_TD, templates_T


def template_cosines(
    emb_TD: np.ndarray, templates_T: np.ndarray, first_P: np.ndarray, second_P: np.ndarray, *, block: int = 1 << 17
) -> np.ndarray:
    """Cosines float32 (P,) of pairs of templates given by their ids, all of them among the ascending `templates_T`."""
    first_P, second_P = (np.searchsorted(templates_T, ids) for ids in (first_P, second_P))
    cosines_P = np.empty(len(first_P), np.float32)
    for start in range(0, len(first_P), block):
        part = slice(start, start + block)
        cosines_P[part] = np.einsum("pd,pd->p", emb_TD[first_P[part]], emb_TD[second_P[part]])
    return cosines_P
