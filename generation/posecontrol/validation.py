"""How good a model is on pairs of people that it does not train on: losses and PSNR after each epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from generation.metrics import as_bytes, psnr_db
from generation.pictures import img11_of
from generation.posecontrol.batches import PairBatches
from generation.posecontrol.step import Losses, PoseControlStep
from recognition.collectives import all_reduce_sum
from recognition.runtime import Runtime
from recognition.spread import spread


@dataclass(frozen=True)
class Validated(Losses):
    """Means over validation pairs; `copy_psnr_db`: of the source picture shown as if it were the target."""

    psnr_db: float
    copy_psnr_db: float


@torch.no_grad()
def validate(take_step: PoseControlStep, batches: PairBatches, most_pairs: int, runtime: Runtime) -> Validated:
    """Look at up to `most_pairs` pairs, evenly spread and shared among the ranks (collective); nothing is changed.

    PSNR is the mean over pictures, of which each is rounded to bytes and cut to their range first.
    """
    take_step.model.eval()
    rows_P = spread(len(batches.pairs.front_P), most_pairs)[runtime.rank :: runtime.world]
    sums_7 = torch.zeros(7, dtype=torch.float64, device=runtime.device)
    for batch in batches.in_order(rows_P):
        count = len(batch.source_BHWC)
        made, target_BCHW = take_step.generated(batch)
        of_pictures = [
            psnr_db(as_bytes((img11_BCHW + 1) / 2), as_bytes((target_BCHW + 1) / 2)).sum()
            for img11_BCHW in (made.image_BCHW, img11_of(batch.source_BHWC, runtime.device))
        ]
        sums_7 += torch.stack([*(take_step.losses(batch) * count), *of_pictures, torch.tensor(count)]).double()
    *sums, count = all_reduce_sum(sums_7, runtime, what="validation").tolist()
    return Validated(*(value / count for value in sums))


def row_of(epoch: int, losses: Losses, **more: float) -> dict[str, float]:
    """A row of the history: what `losses` has, and more."""
    return {"epoch": epoch, **asdict(losses), **more}
