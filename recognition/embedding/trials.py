"""The same network fed otherwise: whether another channel order, normalisation or cut tells people apart better.

Half of the pairs choose the best of the ways, the other half decide whether it is better: choosing among many makes the
best look better than it is. Two ways are compared on the same pairs by DeLong's test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recognition.data.pictures import Pictures
from recognition.embedding.finding import Finding
from recognition.embedding.models import Embedder
from recognition.embedding.over_ranks import embed_images
from recognition.embedding.preprocess import RECIPES, Preprocess
from recognition.runtime import Runtime
from recognition.verification.protocol import pair_distances

NORMALISATIONS = ("arcface", "unit", "raw", "imagenet")
ZOOMS = (0.8, 1.25, 1.6, 2.0)
SHIFTS = (-0.1, 0.1)  # of the height: the face stands too high or too low
GOOD_AUC = 0.99  # above this no other cut is tried
AS_GOOD_AUC = 0.01  # the simpler of two ways wins within this
SURE_Z = 3.0
ERROR_LEFT = 0.8  # a better way leaves at most so much of 1 - AUC


@dataclass(frozen=True)
class Trial:
    """Pairs to be told apart: pictures 2p and 2p+1 are those of pair p.

    `own_P`: their squared distances as the model is fed now; None where embeddings are not finite.
    """

    images: Pictures
    issame_P: np.ndarray
    own_P: np.ndarray | None

    def distances(self, model: Callable[[Tensor], Tensor], runtime: Runtime, batch_size: int) -> np.ndarray | None:
        """Squared distance of each pair (P,), the same on all ranks; None where embeddings are not finite."""
        found = embed_images(model, self.images, runtime=runtime, batch_size=batch_size, title="fed otherwise").emb_ND
        found = found.astype(np.float64)
        return pair_distances(found) if np.isfinite(found).all() else None


@dataclass(frozen=True)
class Way:
    """One way to feed the network; `changes`: how many things it does otherwise than now, `words`: what to write."""

    preprocess: Preprocess
    words: str
    changes: int


def feeding_symptoms(
    model: Embedder, choose: Trial, decide: Trial, *, runtime: Runtime, batch_size: int = 64
) -> list[Finding]:
    """`channel_order`, `normalisation`, `alignment` and `at_chance` of a model, on two disjoint sets of pairs."""

    def auc_of(way: Callable[[Tensor], Tensor]) -> float:
        distances_P = choose.own_P if way is now else choose.distances(way, runtime, batch_size)
        return 0.0 if distances_P is None else area(distances_P, choose.issame_P)

    now, findings, own_P = model, [], decide.own_P
    ways = other_ways(model)
    aucs = [auc_of(model.fed(way.preprocess)) for way in ways]
    best_auc = max([auc_of(model), *aucs])
    way = _simplest_of_the_best(ways, aucs)
    found_P = None if way is None else decide.distances(model.fed(way.preprocess), runtime, batch_size)
    if found_P is not None and clearly_better(own_P, found_P, decide.issame_P):
        findings.append(_feeding_finding(model, way, _change(own_P, found_P, decide.issame_P)))
        model, own_P = model.fed(way.preprocess), found_P
    if own_P is None:
        return findings
    own_auc = area(own_P, decide.issame_P)
    if own_auc <= GOOD_AUC:
        findings += _alignment(model, own_P, auc_of, decide, runtime, batch_size)
    if not findings and own_auc < 0.5 + 2 * chance_error(decide) and best_auc < 0.5 + 3 * chance_error(choose):
        findings.append(
            Finding(
                "at_chance",
                f"the model tells same from different no better than a coin (AUC {own_auc:.3f}), and no channel order, "
                f"normalisation or cut that was tried helps (best AUC of the first two {best_auc:.3f})",
                "its weights are not those of a trained recogniser, or the pairs' labels are wrong",
            )
        )
    return findings


def other_ways(model: Embedder) -> list[Way]:
    """The channel orders and usual normalisations that differ from how the model is fed now."""
    now = model.preprocess
    swapped = "RGB" if now.order == "BGR" else "BGR"
    ways = [Way(replace(now, order=swapped), swapped.lower(), 1)]
    if model.network.whole_pixels:
        return ways
    for name in NORMALISATIONS:
        recipe = replace(RECIPES[name][0], size=now.size)
        if not _nearly_the_same(recipe, now):
            for order in (now.order, swapped):
                words = f"{name},{order.lower()}" if order != recipe.order else name
                words += "" if now.size is None else f",size={now.size}"
                ways.append(Way(replace(recipe, order=order), words, 1 + (order != now.order)))
    return ways


def _nearly_the_same(one: Preprocess, other: Preprocess) -> bool:
    """127.5 and 128: no pairs tell these apart."""
    ends = [[(end - np.array(way.mean)) / np.array(way.std) for end in (0, 255)] for way in (one, other)]
    return bool(np.abs(np.subtract(*np.broadcast_arrays(*ends))).max() < 0.02 * np.abs(ends[1]).max())


def _simplest_of_the_best(ways: Sequence[Way], aucs: Sequence[float]) -> Way | None:
    good = [(way.changes, -auc, index) for index, (way, auc) in enumerate(zip(ways, aucs))]
    good = [entry for entry in good if -entry[1] >= max(aucs, default=0) - AS_GOOD_AUC]
    return ways[min(good)[2]] if good else None


def _feeding_finding(model: Embedder, way: Way, change: str) -> Finding:
    now = model.preprocess
    only_order = (way.preprocess.mean, way.preprocess.std) == (now.mean, now.std)
    what = f"in {way.preprocess.order}" if only_order else f"prepared as {way.words!r}"
    return Finding(
        "channel_order" if only_order else "normalisation",
        f"pictures {what} are told apart clearly better than as now ({now.text()}): {change}",
        f"verify again with --preprocess {way.words}, in place of other flags for it",
    )


def _alignment(
    model: Embedder,
    own_P: np.ndarray,
    auc_of: Callable[[Callable], float],
    decide: Trial,
    runtime: Runtime,
    batch_size: int,
) -> list[Finding]:
    """Whether pictures cut closer, wider, higher or lower are told apart better: they are not cut as in training."""
    zooms = {(1.0, 0.0): auc_of(model)} | {(zoom, 0.0): auc_of(recut(model, zoom, 0.0)) for zoom in ZOOMS}
    zoom, _ = max(zooms, key=zooms.get)
    cuts = zooms | {(zoom, shift): auc_of(recut(model, zoom, shift)) for shift in SHIFTS}
    cut = max(cuts, key=cuts.get)
    if cut == (1.0, 0.0):
        return []
    found_P = decide.distances(recut(model, *cut), runtime, batch_size)
    if found_P is None or not clearly_better(own_P, found_P, decide.issame_P):
        return []
    zoom, shift = cut
    moved = f"{abs(shift):.0%} {'higher' if shift < 0 else 'lower'}" if shift else ""
    how = " and ".join(part for part in (f"by a factor of {zoom:g}" if zoom != 1 else "", moved) if part)
    return [
        Finding(
            "alignment",
            f"pictures cut otherwise ({how}) are told apart clearly better: "
            f"{_change(own_P, found_P, decide.issame_P)}; so they are not aligned as in the model's training",
            "make the set again from the original photos with five-point alignment (launch/records.py align)",
        )
    ]


def recut(model: Callable[[Tensor], Tensor], zoom: float, shift: float) -> Callable[[Tensor], Tensor]:
    """`model` on pictures enlarged `zoom` times about a point that lies `shift` of the height lower; edges repeated."""

    def cut(x_BCHW: Tensor) -> Tensor:
        matrix = torch.tensor([[1 / zoom, 0, 0], [0, 1 / zoom, 2 * shift]], dtype=x_BCHW.dtype, device=x_BCHW.device)
        grid = F.affine_grid(matrix.expand(len(x_BCHW), 2, 3), list(x_BCHW.shape), align_corners=False)
        return model(F.grid_sample(x_BCHW, grid, padding_mode="border", align_corners=False))

    return cut


def area(distances_P: np.ndarray, issame_P: np.ndarray) -> float:
    """Area under the ROC: the share of (genuine, impostor) in which the genuine pair is nearer, ties half."""
    return float(_nearer(distances_P, issame_P).mean())


def delong_z(one_P: np.ndarray, other_P: np.ndarray, issame_P: np.ndarray) -> float:
    """How many standard errors the AUC of `other` lies above that of `one`, of the same pairs.

    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated ROC curves", Biometrics 1988,
    eq. 5: the error comes from the differences of each pair's share of the other kind that it beats.
    """
    gain = _nearer(other_P, issame_P) - _nearer(one_P, issame_P)
    variance = sum(gain.mean(axis=1 - axis).var(ddof=1) / gain.shape[axis] for axis in (0, 1))
    return float(gain.mean() / np.sqrt(variance)) if variance > 0 else float(np.sign(gain.mean())) * np.inf


def clearly_better(one_P: np.ndarray | None, other_P: np.ndarray, issame_P: np.ndarray) -> bool:
    """Whether `other` tells pairs apart better than `one` does, beyond chance and by an amount that matters."""
    if one_P is None:
        return area(other_P, issame_P) > 0.5
    error, other_error = 1 - area(one_P, issame_P), 1 - area(other_P, issame_P)
    return other_error <= ERROR_LEFT * error and error > 0 and delong_z(one_P, other_P, issame_P) > SURE_Z


def chance_error(trial: Trial) -> float:
    """Standard error of the AUC of a guesser: Mann and Whitney, Annals of Mathematical Statistics 1947."""
    genuine, impostor = int(trial.issame_P.sum()), int((~trial.issame_P).sum())
    return float(np.sqrt((genuine + impostor + 1) / (12 * genuine * impostor)))


def _nearer(distances_P: np.ndarray, issame_P: np.ndarray) -> np.ndarray:
    """(genuine, impostor): 1 where the genuine pair is nearer, 0.5 where they are equally near."""
    genuine_G1, impostor_1I = distances_P[issame_P][:, None], distances_P[~issame_P][None, :]
    return (genuine_G1 < impostor_1I) + 0.5 * (genuine_G1 == impostor_1I)


def _change(own_P: np.ndarray | None, found_P: np.ndarray, issame_P: np.ndarray) -> str:
    before = "nothing finite" if own_P is None else f"AUC {area(own_P, issame_P):.3f}"
    return f"{before}, then {area(found_P, issame_P):.3f}, on {len(issame_P)} pairs not used to choose it"
