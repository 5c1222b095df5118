"""Everyone against everyone: the cosines of all N (N - 1) / 2 pairs, counted block by block in constant memory.

The successor of the retired MFR test: with 100,000 pictures there are 5 billion pairs, enough impostors to speak of
false accept rates far below 1e-6. A cosine counts in the nearest multiple of 2^-15; two pictures are accepted as one
person when theirs lies above the threshold's. Nothing else is rounded: figures are the exact ones of these cosines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recognition.collectives import all_gather, all_reduce_sum
from recognition.errors import InputError
from recognition.runtime import Runtime

STEPS = 1 << 15  # to each side of a cosine of 0
BINS = 2 * STEPS + 1
# Rows of a block: 4 MB of cosines, which a core keeps at hand; a GPU wants more work at a time.
BLOCK_ROWS, BLOCK_ROWS_CUDA = 1024, 8192
WORST = 6


@dataclass(frozen=True)
class Extreme:
    """A pair of rows of the embeddings, `first` before `second`, with its cosine."""

    cosine: float
    first: int
    second: int


@dataclass(frozen=True)
class CosineCounts:
    """How many genuine and impostor pairs have each cosine: int64 (BINS,), the cosine of bin k is (k - STEPS) / STEPS.

    `impostors`: the impostor pairs with the highest cosines, `genuines`: the genuine ones with the lowest, worst first.
    """

    genuine_K: np.ndarray
    impostor_K: np.ndarray
    impostors: tuple[Extreme, ...]
    genuines: tuple[Extreme, ...]

    @property
    def num_genuine(self) -> int:
        """Pairs of one person."""
        return int(self.genuine_K.sum())

    @property
    def num_impostor(self) -> int:
        """Pairs of two people."""
        return int(self.impostor_K.sum())


def count_cosines(
    emb_ND: np.ndarray, labels_N: np.ndarray, *, runtime: Runtime, block_rows: int | None = None, worst: int = WORST
) -> CosineCounts:
    """Count the cosines of all pairs of rows, float32 (N, D), of any norm; rows of one label int64 (N,) are genuine.

    The blocks are dealt out over the ranks, which all pass the same rows and get the same counts. Memory: the rows
    twice and one block. InputError for rows that are zero or not finite, and where one kind of pairs is absent.
    """
    labels_N = np.asarray(labels_N, np.int64)
    require_both_kinds(labels_N, len(emb_ND))
    block_rows = block_rows or (BLOCK_ROWS_CUDA if runtime.device.type == "cuda" else BLOCK_ROWS)
    order_N = np.argsort(labels_N, kind="stable")  # genuine pairs then lie near the diagonal
    unit_ND = _unit(emb_ND, order_N, runtime.device)
    label_N = torch.from_numpy(labels_N[order_N]).to(runtime.device)
    total_2K = torch.zeros(2, BINS, dtype=torch.int64, device=runtime.device)
    high, low = _Largest(worst), _Largest(worst)
    blocks = list(_blocks(len(unit_ND), block_rows))[runtime.rank :: runtime.world]
    runtime.at("comparing all pairs")
    scratch = _Scratch(block_rows, runtime.device)
    for rows, columns in tqdm(
        blocks, "comparing all pairs", delay=2, leave=False, disable=_hidden(runtime), unit="block"
    ):
        cos_RC, bins_RC = scratch.compare(unit_ND[rows], unit_ND[columns])
        _count(cos_RC, bins_RC, label_N[rows], label_N[columns], total_2K, high, low, rows.start, columns.start)
    runtime.wait_for_all("the comparison of all pairs")
    total_2K = all_reduce_sum(total_2K, runtime, what="counts of cosines").cpu().numpy()
    return CosineCounts(total_2K[0], total_2K[1], high.agreed(runtime, order_N, 1), low.agreed(runtime, order_N, -1))


def require_both_kinds(labels_N: np.ndarray, num_rows: int) -> None:
    """InputError unless there is a label for each row, and among them pairs of one label and pairs of two."""
    if labels_N.shape != (num_rows,):
        raise InputError(f"{labels_N.shape} labels do not fit {num_rows} pictures; give one for each")
    identities, counts = np.unique(labels_N, return_counts=True)
    if len(identities) < 2 or counts.max(initial=0) < 2:
        raise InputError(
            f"{num_rows} pictures of {len(identities)} people: everyone against everyone needs two people at least, "
            "and two pictures of one of them"
        )


def _unit(emb_ND: np.ndarray, order_N: np.ndarray, device: torch.device) -> Tensor:
    """Rows in this order, of length 1."""
    unit_ND = torch.from_numpy(np.asarray(emb_ND, np.float32)[order_N]).to(device)
    norm_N1 = unit_ND.norm(dim=1, keepdim=True)
    good_N = torch.isfinite(norm_N1[:, 0]) & (norm_N1[:, 0] > 0)
    if not good_N.all():
        bad_N = np.sort(order_N[~good_N.cpu().numpy()])
        raise InputError(
            f"{len(bad_N)} of {len(order_N)} embeddings are zero, NaN or infinite, first that of picture {bad_N[0]}; "
            "the network has diverged or its weights are damaged, so nothing can be compared"
        )
    return unit_ND.div_(norm_N1)


def _blocks(count: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Blocks that cover every pair of [0, count) once, on or above the diagonal."""
    starts = range(0, count, block)
    for row in starts:
        for column in range(row, count, block):
            yield slice(row, min(row + block, count)), slice(column, min(column + block, count))


class _Scratch:
    """Room for a block, so that no memory is asked for and given back for each."""

    def __init__(self, block_rows: int, device: torch.device) -> None:
        self.cos, self.steps = (torch.empty(block_rows**2, device=device) for _ in range(2))
        self.bins = torch.empty(block_rows**2, dtype=torch.int32, device=device)

    def compare(self, unit_RD: Tensor, unit_CD: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines float32 (R, C) and their bins int32 (R, C), both until the next call."""
        shape = len(unit_RD), len(unit_CD)
        cos_RC, steps_RC, bins_RC = (
            kept[: shape[0] * shape[1]].view(shape) for kept in (self.cos, self.steps, self.bins)
        )
        torch.mm(unit_RD, unit_CD.T, out=cos_RC)
        torch.mul(cos_RC, STEPS, out=steps_RC)
        bins_RC.copy_(steps_RC.round_()).add_(STEPS)
        return cos_RC, bins_RC


def _count(
    cos_RC: Tensor,
    bins_RC: Tensor,
    row_label_R: Tensor,
    column_label_C: Tensor,
    total_2K: Tensor,
    high: _Largest,
    low: _Largest,
    row: int,
    column: int,
) -> None:
    """Add a block to the counts of both kinds and offer its extremes. Labels ascend over rows and columns."""
    if row != column and row_label_R[-1] < column_label_C[0]:  # most blocks: nobody is in both
        counts_K = torch.bincount(bins_RC.view(-1), minlength=BINS)
        total_2K[1] += counts_K
        high.offer_if(cos_RC, counts_K, row, column)
        return
    same_RC = row_label_R[:, None] == column_label_C[None, :]
    once_RC = torch.ones_like(same_RC).triu_(1) if row == column else torch.ones_like(same_RC)
    for kind, mask_RC in enumerate((same_RC & once_RC, ~same_RC & once_RC)):
        total_2K[kind] += torch.bincount(bins_RC[mask_RC], minlength=BINS)
    high.offer(cos_RC.masked_fill(same_RC | ~once_RC, -torch.inf), row, column)
    low.offer(cos_RC.neg().masked_fill(~same_RC | ~once_RC, -torch.inf), row, column)


class _Largest:
    """The `most` largest values offered so far, descending, with their rows and columns, int64 (M, 2)."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.value_M = torch.empty(0, dtype=torch.float64)
        self.place_M2 = torch.empty(0, 2, dtype=torch.int64)

    def offer_if(self, value_RC: Tensor, counts_K: Tensor, row: int, column: int) -> None:
        """The same as `offer` for cosines whose counts are known: most blocks have none that is high enough."""
        if len(self.value_M) == self.most:
            lowest = int(torch.round(self.value_M[-1] * STEPS)) + STEPS
            if not counts_K[max(lowest, 0) :].any():
                return
        self.offer(value_RC, row, column)

    def offer(self, value_RC: Tensor, row: int, column: int) -> None:
        """Keep what is larger than the least that is kept; the same values give the same places, however many ranks."""
        count = min(self.most, value_RC.numel())
        if not count:
            return
        value_M, flat_M = torch.topk(value_RC.reshape(-1), count)
        place_M2 = torch.stack([flat_M // value_RC.shape[1] + row, flat_M % value_RC.shape[1] + column], dim=1)
        found_M = torch.isfinite(value_M)
        self._keep(
            torch.cat([self.value_M, value_M[found_M].double().cpu()]),
            torch.cat([self.place_M2, place_M2[found_M].cpu()]),
        )

    def agreed(self, runtime: Runtime, order_N: np.ndarray, sign: int) -> tuple[Extreme, ...]:
        """The worst of all ranks, by the places that rows had before they were put in `order_N`."""
        value_M = torch.full((self.most,), -torch.inf, dtype=torch.float64)
        place_M2 = torch.zeros(self.most, 2, dtype=torch.int64)
        value_M[: len(self.value_M)], place_M2[: len(self.place_M2)] = self.value_M, self.place_M2
        value_M = all_gather(value_M.to(runtime.device), runtime, what="worst cosines").cpu()
        place_M2 = all_gather(place_M2.to(runtime.device), runtime, what="worst pairs").cpu()
        found_M = torch.isfinite(value_M)
        self._keep(value_M[found_M], place_M2[found_M])
        rows_M2 = np.sort(order_N[self.place_M2.numpy()], axis=1)
        return tuple(
            Extreme(sign * value, int(first), int(second))
            for value, (first, second) in zip(self.value_M.tolist(), rows_M2)
        )

    def _keep(self, value_M: Tensor, place_M2: Tensor) -> None:
        by_place = np.lexsort((place_M2[:, 1], place_M2[:, 0], -value_M))[: self.most]
        self.value_M, self.place_M2 = value_M[by_place], place_M2[by_place]


def _hidden(runtime: Runtime) -> bool | None:
    """None hides a bar unless a terminal watches; ranks other than the main one show none."""
    return None if runtime.is_main else True
