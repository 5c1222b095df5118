"""A small network that says which attributes a face has: a judge of edits that no generator was trained with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generation.judge import Judge
from generation.pictures import batch_of
from generation.stargan.attributes import HAIR
from generation.stargan.pictures import TEST, TRAIN, AttributePictures
from recognition.errors import InputError

BATCH = 32
BRIGHTNESS, CONTRAST = 0.1, 0.15  # by which pictures differ while it learns, of img01, either way
SHIFT = 1 / 16  # of a side, likewise


class AttributeJudge(Judge):
    """Pictures img01 (B, 3, H, W) -> logits (B, A) of the attributes `names`; `facts` say how good it is at each."""

    key, what, made_by = "arcscale.attribute_judge", "judge of attributes", "launch/edits.py judge"

    def __init__(self, image_size: int, names: Sequence[str], facts: dict[str, Any] | None = None) -> None:
        super().__init__(image_size, len(names), facts)
        self.names = tuple(names)
        self.facts["names"] = list(names)

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> AttributeJudge:
        """See Judge."""
        return cls(facts.pop("image_size"), facts["names"], facts)

    def forward(self, img01_BCHW: Tensor) -> Tensor:
        """Above 0: it has the attribute, more likely than not."""
        return self.numbers(img01_BCHW)

    @torch.no_grad()
    def labels(self, img01_NCHW: Tensor, names: Sequence[str] | None = None) -> np.ndarray:
        """What it says of pictures, bool (N, A), of the attributes `names`, in this order (None: all that it knows).

        InputError for one that it does not know.
        """
        wanted = self.names if names is None else tuple(names)
        if unknown := [name for name in wanted if name not in self.names]:
            raise InputError(f"the judge of attributes does not know {unknown[0]}; it knows {', '.join(self.names)}")
        columns = [self.names.index(name) for name in wanted]
        says_NA = torch.cat([self(some) for some in img01_NCHW.split(256)]) > 0
        return says_NA[:, columns].numpy()

    def likeliest(self, img01_NCHW: Tensor, names: Sequence[str]) -> np.ndarray:
        """As `labels`, but of colours of hair that it sees at once only the one that it is surest of."""
        says_NA = self.labels(img01_NCHW, names)
        hair = [place for place, name in enumerate(names) if name in HAIR]
        if len(hair) > 1:
            with torch.no_grad():
                logits_NA = torch.cat([self(some) for some in img01_NCHW.split(256)]).numpy()
            of_hair_NH = logits_NA[:, [self.names.index(names[place]) for place in hair]]
            is_surest_NH = of_hair_NH == of_hair_NH.max(1, keepdims=True)
            says_NA[:, hair] &= is_surest_NH
        return says_NA


def train_judge(
    pictures: AttributePictures, *, steps: int, seed: int, lr: float = 3e-3, say: Callable[[str], None] = print
) -> AttributeJudge:
    """Train on the part to train on; how often it is right on the part kept apart is in its facts.

    InputError where either part is empty, or an attribute has one value only.
    """
    train, test = pictures.split(TRAIN), pictures.split(TEST)
    if not len(train) or not len(test):
        raise InputError("a judge needs pictures to learn from and others to be judged on: give more, or --test_size")
    shares_A = train.labels_NA.mean(0)
    if never := [name for name, share in zip(train.names, shares_A) if share in (0, 1)]:
        raise InputError(f"all {len(train)} pictures agree on {never[0]}: nobody can learn it from them")
    # Of all of CelebA's pictures in float32 there would be four times as much.
    seen_NCHW = torch.from_numpy(np.stack([train.read(index) for index in range(len(train))])).permute(0, 3, 1, 2)
    labels_NA = torch.from_numpy(train.labels_NA).float()
    torch.manual_seed(seed)
    judge = AttributeJudge(pictures.image_size, pictures.names)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for step in range(1, steps + 1):
        chosen_B = torch.randint(len(seen_NCHW), (BATCH,))
        logits_BA = judge(_varied(seen_NCHW[chosen_B].float() / 255))
        loss = F.binary_cross_entropy_with_logits(logits_BA, labels_NA[chosen_B])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 5) == 0:
            say(f"judge: step {step}/{steps}  loss {loss.item():.3f}")
    judge.eval().requires_grad_(False)
    judge.facts |= {
        **{"pictures": len(train), "judged on": len(test), "steps": steps, "seed": seed},
        **{"judged_on_sha256": test.files_sha256(), "accuracy": _accuracy(judge, test)},
    }
    return judge


def _accuracy(judge: AttributeJudge, test: AttributePictures) -> dict[str, dict[str, float | None]]:
    """Of each attribute: how often it is right, and the mean of that over those who have it and those who do not."""
    says_NA, truth_NA = judge.labels(_all(test)), test.labels_NA
    found: dict[str, dict[str, float | None]] = {}
    for place, name in enumerate(test.names):
        right_N, has_N = says_NA[:, place] == truth_NA[:, place], truth_NA[:, place]
        both = 0 < has_N.sum() < len(has_N)
        balanced = float((right_N[has_N].mean() + right_N[~has_N].mean()) / 2) if both else None
        found[name] = {"accuracy": float(right_N.mean()), "balanced": balanced}
    return found


def _varied(img01_BCHW: Tensor) -> Tensor:
    """The pictures, some mirrored, each a little brighter or darker, of other contrast, all moved by some pixels."""
    count = len(img01_BCHW)
    flips_B = torch.rand(count) < 0.5
    img01_BCHW = torch.where(flips_B[:, None, None, None], img01_BCHW.flip(3), img01_BCHW)
    contrast, brightness = (1 + CONTRAST * _either_way(count)), BRIGHTNESS * _either_way(count)
    most = max(1, round(SHIFT * img01_BCHW.shape[3]))
    down, right = torch.randint(-most, most + 1, (2,)).tolist()
    return (img01_BCHW * contrast + brightness).roll((down, right), (2, 3))


def _either_way(count: int) -> Tensor:
    return torch.rand(count, 1, 1, 1) * 2 - 1


def _all(pictures: AttributePictures) -> Tensor:
    return batch_of([pictures.read(index) for index in range(len(pictures))])
