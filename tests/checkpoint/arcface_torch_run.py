"""Runs of arcface_torch in plain torch, all ranks in one process, and the files that such a run leaves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from recognition.backbones import build_backbone

SIZE, D = 32, 32


class PartialFC(nn.Module):
    """The centres of one rank, under the key that they have there."""

    def __init__(self, rows):
        super().__init__()
        self.weight = nn.Parameter(rows)


@dataclass
class Rank:
    backbone: nn.Module
    partial_fc: PartialFC
    optimizer: torch.optim.Optimizer


@dataclass
class ArcfaceTorchRun:
    """Replicas with equal gradients and statistics of their own; centres in shards; one optimizer a rank over both."""

    world: int
    num_classes: int = 10
    optimizer: str = "sgd"
    build: Callable[[], nn.Module] = lambda: build_backbone("r_tiny", D, image_size=SIZE)
    seed: int = 0
    steps: int = 0
    ranks: list[Rank] = field(default_factory=list)

    def __post_init__(self):
        torch.manual_seed(self.seed)
        backbone = self.build()
        longer = self.num_classes % self.world
        sizes = [self.num_classes // self.world + (rank < longer) for rank in range(self.world)]
        for rows in (torch.randn(self.num_classes, D) * 0.01).split(sizes):
            replica, partial_fc = copy.deepcopy(backbone), PartialFC(rows.clone())
            groups = [{"params": replica.parameters()}, {"params": partial_fc.parameters()}]
            if self.optimizer == "sgd":
                optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=5e-4)
            else:
                optimizer = torch.optim.AdamW(groups, lr=0.001, weight_decay=0.1)
            self.ranks.append(Rank(replica, partial_fc, optimizer))

    def train(self, steps=2, size=SIZE):
        """Steps on random pictures."""
        for _ in range(steps):
            pictures = [torch.randn(4, 3, size, size) for _ in self.ranks]
            self.step(pictures, torch.randint(self.num_classes, (4 * self.world,)))
        return self

    def step(self, pictures, labels_G, lr=None):
        """A softmax over the cosines of all shards; the gradient of the backbone is the sum over the replicas.

        `pictures` are the batches of the ranks; `lr` is the learning rate from now on, None for the one before.
        """
        emb_GD = torch.cat([rank.backbone.train()(x_BCHW) for rank, x_BCHW in zip(self.ranks, pictures)])
        weight_CD = torch.cat([rank.partial_fc.weight for rank in self.ranks])
        cos_GC = F.normalize(emb_GD) @ F.normalize(weight_CD).T
        F.cross_entropy(16 * cos_GC, labels_G).backward()
        for replicas in zip(*(rank.backbone.parameters() for rank in self.ranks)):
            if replicas[0].grad is not None:
                grad = sum(parameter.grad for parameter in replicas)
                for parameter in replicas:
                    parameter.grad = grad.clone()
        for rank in self.ranks:
            for group in rank.optimizer.param_groups:
                group["lr"] = group["lr"] if lr is None else lr
            rank.optimizer.step()
            rank.optimizer.zero_grad()
        self.steps += 1

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number, rank in enumerate(self.ranks):
            schedule = torch.optim.lr_scheduler.PolynomialLR(copy.deepcopy(rank.optimizer), total_iters=100)
            checkpoint = {
                "epoch": 1,
                "global_step": self.steps,
                "state_dict_backbone": rank.backbone.state_dict(),
                "state_dict_softmax_fc": rank.partial_fc.state_dict(),
                "state_optimizer": rank.optimizer.state_dict(),
                "state_lr_scheduler": schedule.state_dict(),
            }
            torch.save(checkpoint, folder / f"checkpoint_gpu_{number}.pt")
        return folder

    @property
    def centers(self):
        """All centres (C, D)."""
        return torch.cat([rank.partial_fc.weight.detach() for rank in self.ranks])

    def remembered(self, key):
        """What the optimizers remember of all centres (C, D)."""
        return torch.cat([rank.optimizer.state[rank.partial_fc.weight][key] for rank in self.ranks])


def edited(folder, rank, change):
    """Change what a file of a set holds."""
    path = folder / f"checkpoint_gpu_{rank}.pt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
