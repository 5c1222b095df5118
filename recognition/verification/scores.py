"""One set verified by one model: embed its pictures on all ranks, score the pairs, say it in a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from recognition.runtime import Runtime
from recognition.verification.embedding import embed_images
from recognition.verification.pairs import Pairs
from recognition.verification.protocol import VerificationResult, verify_pairs


@dataclass(frozen=True)
class Score:
    """What a model made of one set: the protocol's figures, and the mean length of its embeddings."""

    result: VerificationResult
    xnorm: float

    def lines(self, name: str) -> list[str]:
        """One line of figures, and one for each warning."""
        result = self.result
        tar = "".join(f"  TAR@{far:g} {value:.4f}" for far, value in result.tar_at_far.items() if value is not None)
        figures = (
            f"{name}: accuracy {result.accuracy:.4f} +- {result.accuracy_std:.4f}  AUC {result.auc:.4f}  "
            f"EER {result.eer:.4f}{tar}  XNorm {self.xnorm:.2f}  ({len(result.issame_P)} pairs)"
        )
        return [figures, *(f"{name}: warning: {warning}" for warning in result.warnings)]


def score_pairs(
    embed: Callable[[Tensor], Tensor], pairs: Pairs, *, runtime: Runtime, batch_size: int = 64, title: str = "images"
) -> Score:
    """Verify `embed` (see `embed_images`) on `pairs`; every rank takes part and gets the same score."""
    embedded = embed_images(embed, pairs.images, runtime=runtime, batch_size=batch_size, title=title)
    return Score(verify_pairs(embedded.emb_ND, pairs.issame), embedded.xnorm)
