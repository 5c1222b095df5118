"""Figures of verification against the way in which arcface_torch takes them, and everyone against everyone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recognition.benchmarks.clock import Side, Step
from recognition.benchmarks.memory import Peak
from recognition.benchmarks.settings import Settings
from recognition.identification.all_to_all import count_cosines
from recognition.runtime import Runtime
from recognition.verification.protocol import verify_pairs

PAIRS, DIM, FOLDS, FAR = 6000, 512, 10, 1e-3
IMAGES, IMAGES_EACH = 100_000, 20
THRESHOLD_BY_THRESHOLD, COUNTED = "threshold by threshold, as arcface_torch", "counted once"


class Figures(NamedTuple):
    """What arcface_torch computes: mean accuracy, its deviation, and TAR and FAR at FAR 1e-3 over the folds."""

    accuracy: float
    accuracy_std: float
    tar: float
    far: float


def made_up_pairs(num_pairs: int, dim: int = DIM, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float64 (2P, D) of length 1 and P flags, half of each fold genuine, separable for the most part."""
    rng = np.random.default_rng(seed)
    issame_P = np.arange(num_pairs) % (num_pairs // FOLDS) < num_pairs // (2 * FOLDS)
    first_PD = rng.normal(size=(num_pairs, dim))
    second_PD = np.where(issame_P[:, None], first_PD, rng.normal(size=first_PD.shape))
    emb_ND = np.stack([first_PD, second_PD], axis=1).reshape(2 * num_pairs, dim)
    emb_ND += 1.6 * rng.normal(size=emb_ND.shape)
    return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True), issame_P


def threshold_by_threshold(emb_ND: np.ndarray, issame_P: np.ndarray) -> Figures:
    """The figures as arcface_torch takes them: for each fold and each threshold a pass over the pairs.

    400 thresholds for the accuracy, on training folds and test fold; 4,000 for the FAR, interpolated.
    """
    distances_P = np.sum(np.square(emb_ND[0::2] - emb_ND[1::2]), axis=1)
    fold_P = np.arange(len(issame_P)) * FOLDS // len(issame_P)
    coarse, fine = np.arange(0, 4, 0.01), np.arange(0, 4, 0.001)
    accuracies, tars, fars = [], [], []
    for fold in range(FOLDS):
        test, train = fold_P == fold, fold_P != fold
        chosen = np.argmax([_rates(at, distances_P[train], issame_P[train])[2] for at in coarse])
        scanned = [_rates(at, distances_P[test], issame_P[test]) for at in coarse]
        accuracies.append(scanned[chosen][2])
        far_T = np.array([_rates(at, distances_P[train], issame_P[train])[1] for at in fine])
        at = np.interp(FAR, far_T, fine) if far_T.max() >= FAR else 0.0
        tar, far, _ = _rates(at, distances_P[test], issame_P[test])
        tars.append(tar)
        fars.append(far)
    return Figures(float(np.mean(accuracies)), float(np.std(accuracies)), float(np.mean(tars)), float(np.mean(fars)))


def _rates(threshold: float, distances_P: np.ndarray, issame_P: np.ndarray) -> tuple[float, float, float]:
    """True accept rate, false accept rate and accuracy at one threshold."""
    accepted_P = np.less(distances_P, threshold)
    true_accepts = np.sum(np.logical_and(accepted_P, issame_P))
    false_accepts = np.sum(np.logical_and(accepted_P, np.logical_not(issame_P)))
    true_rejects = np.sum(np.logical_and(np.logical_not(accepted_P), np.logical_not(issame_P)))
    false_rejects = np.sum(np.logical_and(np.logical_not(accepted_P), issame_P))
    genuine, impostor = true_accepts + false_rejects, false_accepts + true_rejects
    return true_accepts / genuine, false_accepts / impostor, (true_accepts + true_rejects) / len(issame_P)


def metric_sides(num_pairs: int) -> dict[str, Side]:
    """Both ways on the same pairs."""
    return {
        name: Side(_Metrics(figures, num_pairs), keeps_memory=name == COUNTED)
        for name, figures in ((THRESHOLD_BY_THRESHOLD, threshold_by_threshold), (COUNTED, verify_pairs))
    }


class _Metrics(NamedTuple):
    """Makes the step of a side."""

    figures: Callable[[np.ndarray, np.ndarray], object]
    num_pairs: int

    def __call__(self, runtime: Runtime) -> Step:
        emb_ND, issame_P = made_up_pairs(self.num_pairs)
        return lambda number: self.figures(emb_ND, issame_P)


class Compared(NamedTuple):
    """What everyone against everyone took: seconds on the wall, the peak of memory above the embeddings, pairs."""

    wall_s: float
    peak_bytes: int
    pairs: int


def compared(runtime: Runtime, images: int, dim: int = DIM) -> Compared:
    """Compare so many made-up embeddings with each other in this process."""
    rng = np.random.default_rng(0)
    labels_N = np.arange(images) % max(images // IMAGES_EACH, 2)
    emb_ND = rng.normal(size=(int(labels_N.max()) + 1, dim)).astype(np.float32)[labels_N]
    emb_ND += 1.2 * rng.normal(size=emb_ND.shape).astype(np.float32)
    peak = Peak(runtime.device)
    begun = time.perf_counter()
    counts = count_cosines(emb_ND, labels_N, runtime=runtime)
    wall_s = time.perf_counter() - begun
    return Compared(wall_s, peak.grown(), counts.num_genuine + counts.num_impostor)


def bench_verification(settings: Settings, *, pairs: int, images: list[int]) -> list[dict[str, Any]]:
    """A row for either way of taking figures, and one for each number of images that are compared with each other."""
    timings = settings.timings(metric_sides(pairs))
    rows = [
        {"what": f"figures of {pairs:,} pairs, {name}", "wall_s": timing.wall_s, "cpu_s": timing.cpu_s}
        for name, timing in timings.items()
    ]
    for count in images:
        seen = settings.apart(compared, count)[0]
        rows.append(
            {
                "what": f"{count:,} images, everyone against everyone",
                "wall_s": seen.wall_s,
                "pairs_per_s": seen.pairs / seen.wall_s,
                "peak_mb": seen.peak_bytes / 1e6,
            }
        )
    return rows
