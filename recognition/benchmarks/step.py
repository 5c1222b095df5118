"""A whole training step: images in, backbone, head, backward, clipping, updates; against arcface_torch's way."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from recognition.backbones import build_backbone
from recognition.benchmarks.backbone import stock
from recognition.benchmarks.clock import Side, Step
from recognition.benchmarks.counting import Counts
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.sides import DENSE, DENSE_AT_BEST, HeadCase, dense_head, dense_optimizer, streamed_head
from recognition.config import TrainConfig, load_config
from recognition.config.source import CONFIGS_DIR
from recognition.data.loader import Batch
from recognition.runtime import Runtime
from recognition.training.step import TrainStep

BASELINE, BASELINE_AT_BEST = DENSE, DENSE_AT_BEST
MAX_GRAD_NORM = 5.0
LR = 0.1


@dataclasses.dataclass(frozen=True)
class StepCase:
    """Network, images in a batch, classes, precision of the backbone (and operands of the head), compiled or not."""

    network: str = "mbf"
    batch: int = 32
    num_classes: int = 100_000
    precision: str = "fp32"
    compiled: bool = False
    sample_rate: float = 1.0
    image_size: int = 112

    @property
    def label(self) -> str:
        """What tells this way of taking a step from others."""
        return self.precision + (" compiled" if self.compiled else "")

    @property
    def head(self) -> HeadCase:
        """The head of such a step."""
        operands = "bf16" if self.precision == "bf16" else "fp32"
        return HeadCase(self.num_classes, self.sample_rate, self.batch, operands=operands)

    @property
    def config(self) -> TrainConfig:
        """The config that asks for it."""
        overrides = {"rec": "synthetic", "num_classes": self.num_classes, "num_image": self.batch}
        overrides |= {"network": self.network, "batch_size": self.batch, "image_size": self.image_size}
        overrides |= {"precision": self.precision, "compile": self.compiled, "sample_rate": self.sample_rate}
        overrides |= {"max_grad_norm": MAX_GRAD_NORM, "device": "cpu"}
        return load_config(CONFIGS_DIR / "base.py", [f"{key}={value}" for key, value in overrides.items()])


def bench_step(
    settings: Settings,
    *,
    network: str,
    batch: int,
    identities: int,
    precisions: Sequence[str],
    compiled: bool = False,
    image_size: int = 112,
) -> list[dict[str, Any]]:
    """A row for the baseline and for each precision, compiled too where asked."""
    ways = [False, True] if compiled else [False]
    cases = [
        StepCase(network, batch, identities, precision, is_compiled, image_size=image_size)
        for is_compiled in ways
        for precision in precisions
    ]
    timings = settings.timings(sides_of(cases))
    rows = []
    for name, timing in timings.items():
        row = {"network": network, "batch": batch, "identities": identities, "step": name}
        row |= {"CPU s": timing.cpu_s, "wall s": timing.wall_s}
        rows.append(row | {"x": settings.ratio(timings, BASELINE, name)})
    return rows


def sides_of(cases: Sequence[StepCase]) -> dict[str, Side]:
    """Cases of one size by `label`, beside the baseline in float32 as its users have it and at its best (sides.py)."""
    sides = {BASELINE: Side(partial(baseline_step, cases[0]), keeps_memory=False)}
    sides[BASELINE_AT_BEST] = Side(partial(baseline_step, cases[0], fused=True))
    return sides | {case.label: Side(partial(train_step, case)) for case in cases}


def backbone_of(case: StepCase) -> nn.Module:
    """The network, the same in every process."""
    torch.manual_seed(0)
    return build_backbone(case.network, image_size=case.image_size).train()


def batch_of(case: StepCase) -> Batch:
    """Random pictures and labels as the loader delivers them."""
    generator = torch.Generator().manual_seed(2)
    size = (case.batch, case.image_size, case.image_size, 3)
    images_BHWC = torch.randint(256, size, dtype=torch.uint8, generator=generator)
    labels_B = torch.randint(case.num_classes, (case.batch,), generator=generator)
    ids_B = torch.arange(case.batch)
    return Batch(images_BHWC, labels_B, ids_B, torch.zeros_like(ids_B), 0.0)


def train_step(case: StepCase, runtime: Runtime) -> Step:
    """The step that training takes."""
    take_step = TrainStep(backbone_of(case), streamed_head(case.head, runtime), cfg=case.config, runtime=runtime)
    batch = batch_of(case)
    return lambda number: take_step([batch], step=number, lr=LR)


def baseline_step(case: StepCase, runtime: Runtime, *, fused: bool = False) -> Step:
    """A step in float32 on NCHW images that came from the loader as floats; dense head, torch's SGD."""
    backbone = stock(backbone_of(case)).to(runtime.device)
    head = dense_head(case.head, runtime)
    optimizer = dense_optimizer(nn.ModuleList([backbone, head]), fused=fused)
    batch = batch_of(case)
    x_BCHW = batch.images_BHWC.permute(0, 3, 1, 2).contiguous().float().sub_(127.5).div_(127.5).to(runtime.device)
    labels_B = batch.labels_B.to(runtime.device)

    def step(number: int) -> None:
        head(backbone(x_BCHW), labels_B).backward()
        nn.utils.clip_grad_norm_(backbone.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()

    return step


class AsOnDevice(TrainStep):
    """The training step of a GPU run, on whatever device: a CPU run alone looks at the vote in every step."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.reads_at_once = False


def host_reads_of(runtime: Runtime, case: StepCase) -> Counter[str]:
    """Reads in the second step of training that make the host wait for the device."""
    take_step = AsOnDevice(backbone_of(case), streamed_head(case.head, runtime), cfg=case.config, runtime=runtime)
    batch = batch_of(case)
    take_step([batch], step=0, lr=LR)
    on_host = [tensor for tensor in (batch.images_BHWC, batch.labels_B, batch.ids_B, batch.epochs_B)]
    with Counts(host=on_host) as counts:
        take_step([batch], step=1, lr=LR)
    return counts.host_reads
