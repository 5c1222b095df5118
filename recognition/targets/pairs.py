"""Pairs of pictures, the same person or not: LFW, CFP-FP, AgeDB-30 and their like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from recognition.embedding.models import Embedder
from recognition.embedding.over_ranks import embed_images
from recognition.runtime import Runtime
from recognition.spread import spread
from recognition.targets.target import Options
from recognition.verification.pairs import Pairs, load_pairs
from recognition.verification.protocol import VerificationResult, verify_pairs

WORST = 6
MAX_POINTS = 1000


@dataclass(frozen=True)
class PairsOutcome:
    """What a model made of one set: the protocol's figures, and the mean length of its embeddings."""

    result: VerificationResult
    xnorm: float

    @property
    def warnings(self) -> Sequence[str]:
        """Those of the protocol."""
        return self.result.warnings

    def line(self) -> str:
        """Accuracy, AUC, EER, TAR at the FARs that the set can tell, mean length of embeddings."""
        result = self.result
        tar = "".join(f"  TAR@{far:g} {value:.4f}" for far, value in result.tar_at_far.items() if value is not None)
        return (
            f"accuracy {result.accuracy:.4f} +- {result.accuracy_std:.4f}  AUC {result.auc:.4f}  "
            f"EER {result.eer:.4f}{tar}  XNorm {self.xnorm:.2f}  ({len(result.issame_P)} pairs)"
        )

    def facts(self) -> dict[str, Any]:
        """As report.schema.json has them for pairs."""
        result = self.result
        accepted_P = result.distances_P < result.threshold
        false_accepts = np.flatnonzero(accepted_P & ~result.issame_P)
        false_rejects = np.flatnonzero(~accepted_P & result.issame_P)
        edges, genuine, impostor = score_histogram(result)
        keep = spread(len(result.roc_far), MAX_POINTS)
        return {
            "pairs": len(result.issame_P),
            "genuine": result.num_genuine,
            "impostor": result.num_impostor,
            "accuracy": result.accuracy,
            "accuracy_std": result.accuracy_std,
            "fold_accuracies": result.fold_accuracies,
            "fold_thresholds": result.fold_thresholds,
            "threshold": result.threshold,
            "auc": result.auc,
            "eer": result.eer,
            "tar_at_far": {f"{far:g}": tar for far, tar in result.tar_at_far.items()},
            "xnorm": self.xnorm,
            "num_false_accepts": len(false_accepts),
            "num_false_rejects": len(false_rejects),
            "false_accepts": _worst(false_accepts, result.distances_P, sign=1),
            "false_rejects": _worst(false_rejects, result.distances_P, sign=-1),
            "roc": {"far": result.roc_far[keep], "tar": result.roc_tar[keep], "distance": result.roc_distances[keep]},
            "histogram": {"cosine_edges": edges, "genuine": genuine, "impostor": impostor},
        }


@dataclass(frozen=True)
class PairsTarget:
    """A set of pairs under a name; pictures 2p and 2p+1 are those of pair p."""

    name: str
    pairs: Pairs
    kind: ClassVar[str] = "pairs"

    def score(self, model: Callable[[Tensor], Tensor], *, runtime: Runtime, batch_size: int = 64) -> PairsOutcome:
        """Verify `model` (see `embed_images`) on the pairs; every rank takes part and gets the same outcome."""
        if isinstance(model, Embedder):
            model.require_size(*self.pairs.images.shape[1:3], self.name)
        embedded = embed_images(model, self.pairs.images, runtime=runtime, batch_size=batch_size, title=self.name)
        return PairsOutcome(verify_pairs(embedded.emb_ND, self.pairs.issame), embedded.xnorm)

    def compare(self, outcomes: Sequence[PairsOutcome]) -> list[dict[str, Any]]:
        """Not compared yet."""
        return []

    def picture(self, index: int) -> np.ndarray | None:
        """One of the two of pair index // 2."""
        return self.pairs.images[index]


def open_pairs(name: str, path: Path, options: Options) -> PairsTarget:
    """The set in a `.bin` file; InputError where it cannot be read or its pictures do not fit the models."""
    return PairsTarget(name, load_pairs(path, progress=options.progress))


def score_histogram(result: VerificationResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of 40 bins over the cosine similarities that occur, and the genuine and impostor pairs in each."""
    cosines_P = cosine(result.distances_P)
    edges = np.linspace(min(cosines_P.min(), 0), max(cosines_P.max(), 0.1), 41)
    genuine, _ = np.histogram(cosines_P[result.issame_P], edges)
    impostor, _ = np.histogram(cosines_P[~result.issame_P], edges)
    return edges, genuine, impostor


def cosine(distance: np.ndarray | float) -> np.ndarray | float:
    """Cosine of two unit vectors from their squared distance: |a - b|^2 = 2 - 2 cos."""
    return 1 - distance / 2


def _worst(pairs: np.ndarray, distances_P: np.ndarray, *, sign: int) -> list[dict[str, Any]]:
    """The `WORST` pairs with the smallest sign * distance."""
    chosen = pairs[np.argsort(sign * distances_P[pairs], kind="stable")][:WORST]
    return [{"pair": int(p), "distance": distances_P[p], "cosine": cosine(distances_P[p])} for p in chosen]
