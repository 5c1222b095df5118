"""Forward and backward of a backbone, in the ways that a training step may run it, against NCHW float32 eager."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from recognition.backbones import build_backbone
from recognition.backbones.prelu import PReLU
from recognition.benchmarks.clock import Side, Step
from recognition.benchmarks.settings import Settings
from recognition.runtime import Runtime

STOCK, STOCK_AT_BEST = "NCHW fp32", "NCHW fp32, memory kept"
# Layout, precision and whether compiled, by name. The first is what all others are measured against: freed memory goes
# back to the kernel there, as PyTorch runs unless told otherwise. NCHW has torch's own layers.
WAYS = {
    STOCK: (torch.contiguous_format, "fp32", False),
    STOCK_AT_BEST: (torch.contiguous_format, "fp32", False),
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
        timings = settings.timings(ways_of(network, size, ways, image_size))
        for way, timing in timings.items():
            row = {"network": network, "batch": size, "way": way}
            row |= {"images/CPU s": size / timing.cpu_s, "images/s": size / timing.wall_s}
            rows.append(row | {"x": settings.ratio(timings, STOCK, way)})
    return rows


def ways_of(network: str, batch: int, ways: Sequence[str], image_size: int = 112) -> dict[str, Side]:
    """Forward and backward of the same weights on the same images, a side for each way."""
    return {way: Side(partial(way_step, network, batch, image_size, way), way != STOCK) for way in ways}


def way_step(network: str, batch: int, image_size: int, way: str, runtime: Runtime) -> Step:
    """One forward and backward."""
    torch.manual_seed(0)
    layout, precision, is_compiled = WAYS[way]
    module = build_backbone(network, image_size=image_size).train()
    if layout == torch.contiguous_format:
        module = stock(module)
    module = module.to(runtime.device, memory_format=layout)
    images_BCHW = torch.randn(batch, 3, image_size, image_size).to(runtime.device, memory_format=layout)
    replica = torch.compile(module) if is_compiled else module

    def step(number: int) -> None:
        with torch.autocast(runtime.device.type, torch.bfloat16, enabled=precision == "bf16"):
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
