"""A small network that says in which pose a face is: a judge of turned faces that no generator was trained with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from generation.metrics import pose_error_deg
from generation.pictures import batch_of, read_pixels
from generation.posecontrol.encoders import resized
from generation.posecontrol.losses import GEODESIC, pose_loss
from generation.posecontrol.pose_code import COLUMNS, angles_of_code
from generation.posecontrol.pose_set import PoseSet
from recognition.atomic import replacing
from recognition.errors import InputError

KEY = "arcscale.pose_judge"
WIDTHS = (32, 64, 128, 128)
BATCH = 32


class PoseJudge(nn.Module):
    """Pictures img01 (B, 3, H, W) -> poses (B, 3) in degrees; `facts` say what it was trained on, and how well."""

    def __init__(self, image_size: int, facts: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.image_size, self.facts = image_size, facts or {}
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *WIDTHS), WIDTHS):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        side = -(-image_size // 2 ** len(WIDTHS))
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * side * side, COLUMNS))

    def forward(self, img01_BCHW: Tensor) -> Tensor:
        """Degrees of pitch, yaw and roll."""
        return angles_of_code(self.code(img01_BCHW))

    def code(self, img01_BCHW: Tensor) -> Tensor:
        """The six numbers (B, 6) that stand for the pose."""
        return self.layers(resized(img01_BCHW, self.image_size) * 2 - 1)

    def save(self, path: Path) -> None:
        """Write weights and facts, whole or not at all."""
        facts = json.dumps({**self.facts, "image_size": self.image_size})
        with replacing(path) as partial:
            save_file(self.state_dict(), partial, metadata={"format": "pt", KEY: facts})

    def has_seen(self, people: Iterable[str], pose_set: PoseSet) -> set[str]:
        """Who of these people of a set it was trained on."""
        is_same = self.facts.get("data_sha256") == pose_set.sha256
        return {*people} & {*self.facts.get("train", ())} if is_same else set()

    @classmethod
    def open(cls, path: Path) -> PoseJudge:
        """From a file that `save` wrote, to use; InputError for another one."""
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads((file.metadata() or {}).get(KEY, "null"))
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist; launch/poses.py judge makes one") from error
        except (SafetensorError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error})") from error
        if facts is None:
            raise InputError(f"{path} is no judge of poses; launch/poses.py judge makes one")
        try:
            judge = cls(facts.pop("image_size"), facts)
            judge.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: its tensors are not those that it names; make it again") from error
        return judge.eval().requires_grad_(False)


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
