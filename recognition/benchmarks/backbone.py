"""Forward and backward of a backbone, in the ways that a training step may run it, against NCHW float32 eager."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recognition.backbones import build_backbone
from recognition.backbones.prelu import PReLU
from recognition.benchmarks.clock import Side, Timing, interleaved
from recognition.benchmarks.settings import Settings
from recognition.runtime import Runtime

STOCK = "NCHW fp32"
# Layout, precision and whether compiled, by name; the first is what all others are measured against.
WAYS = {
    STOCK: (torch.contiguous_format, "fp32", False),
    "channels_last fp32": (torch.channels_last, "fp32", False),
    "channels_last bf16": (torch.channels_last, "bf16", False),
    "channels_last fp32 compiled": (torch.channels_last, "fp32", True),
    "channels_last bf16 compiled": (torch.channels_last, "bf16", True),
}
# The batches at which the published ratios of these networks were taken on a CPU.
BATCH = {"mbf": 32}
DEFAULT_BATCH = 8
GATED_WAY = "channels_last bf16"


def bench_backbone(
    settings: Settings,
    *,
    networks: Sequence[str],
    compiled: bool = False,
    batch: int | None = None,
    image_size: int = 112,
) -> list[dict[str, Any]]:
    """A row for each network and way: images a second of CPU time and of wall time, and how many times NCHW fp32's."""
    ways = [name for name, (*_, is_compiled) in WAYS.items() if compiled or not is_compiled]
    rows = []
    for network in networks:
        size = batch or BATCH.get(network, DEFAULT_BATCH)
        timings = settings.apart(timed_ways, network, size, ways, settings, image_size)[0]
        device = torch.device(settings.device)
        for way, timing in timings.items():
            row = {"network": network, "batch": size, "way": way}
            row |= {"images/CPU s": size / timing.cpu_s, "images/s": size / timing.wall_s}
            rows.append(row | {"x": timings[STOCK].figure(device) / timing.figure(device)})
    return rows


def timed_ways(
    runtime: Runtime, network: str, batch: int, ways: Sequence[str], settings: Settings, image_size: int = 112
) -> dict[str, Timing]:
    """Forward and backward of the same weights on the same images in each way."""
    torch.manual_seed(0)
    backbone = build_backbone(network, image_size=image_size).train().to(runtime.device)
    images_BCHW = torch.randn(batch, 3, image_size, image_size, device=runtime.device)
    sides = {way: side(copy.deepcopy(backbone), images_BCHW, way) for way in ways}
    return interleaved(sides, repeats=settings.repeats, threads=settings.threads, device=runtime.device)


def side(backbone: nn.Module, images_BCHW: Tensor, way: str) -> Side:
    """One forward and backward of `backbone`, which becomes the caller's no longer."""
    layout, precision, is_compiled = WAYS[way]
    module = (stock(backbone) if way == STOCK else backbone).to(memory_format=layout)
    images_BCHW = images_BCHW.contiguous(memory_format=layout)
    replica = torch.compile(module) if is_compiled else module
    device = images_BCHW.device

    def step(number: int) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            emb_BD = replica(images_BCHW)
        emb_BD.float().square().sum().backward()
        module.zero_grad(set_to_none=True)

    return step


def stock(module: nn.Module) -> nn.Module:
    """The network with torch's own layers where this project has faster ones of the same values and keys, in place."""
    for name, child in module.named_children():
        if type(child) is PReLU:
            plain = nn.PReLU(child.num_parameters)
            plain.weight = child.weight
            setattr(module, name, plain)
        else:
            stock(child)
    return module
