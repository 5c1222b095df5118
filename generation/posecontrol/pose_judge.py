"""A small network that says in which pose a face is: a judge of turned faces that no generator was trained with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generation.judge import Judge
from generation.metrics import pose_error_deg
from generation.pictures import batch_of, read_pixels
from generation.posecontrol.losses import GEODESIC, pose_loss
from generation.posecontrol.pose_code import COLUMNS, angles_of_code
from generation.posecontrol.pose_set import PoseSet
from recognition.errors import InputError

BATCH = 32


class PoseJudge(Judge):
    """Pictures img01 (B, 3, H, W) -> poses (B, 3) in degrees; `facts` say what it was trained on, and how well."""

    key, what, made_by = "arcscale.pose_judge", "judge of poses", "launch/poses.py judge"

    def __init__(self, image_size: int, facts: dict[str, Any] | None = None) -> None:
        super().__init__(image_size, COLUMNS, facts)

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> PoseJudge:
        """See Judge."""
        return cls(facts.pop("image_size"), facts)

    def forward(self, img01_BCHW: Tensor) -> Tensor:
        """Degrees of pitch, yaw and roll."""
        return angles_of_code(self.code(img01_BCHW))

    def code(self, img01_BCHW: Tensor) -> Tensor:
        """The six numbers (B, 6) that stand for the pose."""
        return self.numbers(img01_BCHW)

    def has_seen(self, people: Iterable[str], pose_set: PoseSet) -> set[str]:
        """Who of these people of a set it was trained on."""
        is_same = self.facts.get("data_sha256") == pose_set.sha256
        return {*people} & {*self.facts.get("train", ())} if is_same else set()


def train_judge(
    pose_set: PoseSet,
    train: tuple[str, ...],
    unseen: tuple[str, ...],
    *,
    image_size: int,
    steps: int,
    seed: int,
    lr: float = 2e-3,
    say: Callable[[str], None] = print,
) -> PoseJudge:
    """Train on the targets of the people `train`; its mean error on those of `unseen` people is in its facts."""
    seen_NCHW, poses_N3 = _pictures(pose_set, train, image_size)
    other_NCHW, wanted_N3 = _pictures(pose_set, unseen, image_size)
    torch.manual_seed(seed)
    judge = PoseJudge(image_size)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for step in range(1, steps + 1):
        chosen_B = torch.randint(len(seen_NCHW), (BATCH,))
        loss = pose_loss(judge.code(seen_NCHW[chosen_B]), poses_N3[chosen_B], GEODESIC)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 5) == 0:
            say(f"judge: step {step}/{steps}  {np.rad2deg(loss.item()):.1f} degrees")
    judge.eval().requires_grad_(False)
    error = pose_error_deg(torch.cat([judge(some) for some in other_NCHW.split(256)]), wanted_N3).mean().item()
    judge.facts = {
        **{"people": len(train), "pictures": len(seen_NCHW), "steps": steps, "seed": seed, "error_deg": error},
        # So that a report can tell whom it has seen.
        **{"train": list(train), "data_sha256": pose_set.sha256},
    }
    return judge


def _pictures(pose_set: PoseSet, people: tuple[str, ...], side: int) -> tuple[Tensor, Tensor]:
    wanted, video = set(people), pose_set.video
    rows = [row for row, person in enumerate(video.people) if person in wanted]
    if not rows:
        raise InputError("nobody is there to train the judge of poses on, or to test it; the set is too small")
    pixels = [read_pixels(video.paths[row], side, fills=True) for row in rows]
    return batch_of(pixels), torch.from_numpy(video.pose_N3[rows]).float()
