"""What a training step of a backbone holds and computes, read off a run on fake tensors: no memory, no arithmetic.

The run goes through the same modules, autocast and autograd as training does, so that it holds for every network that
`build_backbone` knows. Fake tensors are CPU tensors: on a GPU, autocast picks other formats for a few small layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from recognition.backbones import build_backbone
from recognition.backbones.convolution import GroupedConv2d
from recognition.backbones.prelu import PReLU
from recognition.data.transforms import to_input
from recognition.planning.live_storage import LiveStorage

_AUTOCAST = {"fp32": torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class BackboneTrace:
    """Bytes of one step of one rank, and operations per image (2 a multiply-add)."""

    batch: int
    parameters: int
    weights_bytes: int
    gradients_bytes: int
    input_bytes: int
    activations_bytes: int
    forward_peak_bytes: int
    backward_peak_bytes: int
    forward_flop: int
    step_flop: float
    leaf_elements: int


@cache
def trace_backbone(
    network: str,
    *,
    batch: int,
    precision: str = "fp32",
    embedding_size: int = 512,
    image_size: int = 112,
    dropout: float = 0.0,
    gradient_checkpointing: bool = False,
    buckets: bool = False,
    gpu: bool = False,
) -> BackboneTrace:
    """Trace `network` over `batch` images; `buckets`: gradients move into DDP's buckets as soon as they are there.

    `activations_bytes` are held from the forward to the backward pass beside the batch of uint8 images, which is
    `input_bytes`. The peaks are of all that lives beside weights, buckets and optimizer state; without buckets they
    include gradients. `leaf_elements` are what the innermost modules put out for an image. InputError for an unknown
    network.
    """
    with torch.device("meta"):
        backbone = build_backbone(
            network, embedding_size, dropout, gradient_checkpointing=gradient_checkpointing, image_size=image_size
        )
    parameters = list(backbone.parameters())
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    with FakeTensorMode():
        _make_fake(backbone, gpu=gpu)
        forward_flop, leaf_elements = _count_forward(backbone, image_size)
        if buckets:
            for parameter in backbone.parameters():
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(_drop_gradient)
        with LiveStorage() as live:
            live.ignore(*backbone.state_dict(keep_vars=True).values())
            images_BHWC = torch.empty(batch, image_size, image_size, 3, dtype=torch.uint8)
            flip_B = torch.empty(batch, dtype=torch.bool)
            input_bytes = live.bytes
            emb_BD = _embed(backbone, images_BHWC, flip_B, precision)
            forward_peak = live.peak_bytes
            held = live.restart_peak()
            with _leaf_outputs(backbone) as recomputed:
                emb_BD.backward(torch.empty_like(emb_BD))
            backward_peak = live.peak_bytes
    # Backward costs twice the forward pass: a product for the gradient of either factor of every product.
    passes = 3 + sum(recomputed) / (leaf_elements * batch)
    return BackboneTrace(
        batch=batch,
        parameters=sum(p.numel() for p in parameters),
        weights_bytes=sum(tensor.nbytes for tensor in [*parameters, *backbone.buffers()]),
        gradients_bytes=sum(tensor.nbytes for tensor in trainable),
        input_bytes=input_bytes,
        activations_bytes=held - input_bytes,
        forward_peak_bytes=forward_peak,
        backward_peak_bytes=backward_peak,
        forward_flop=forward_flop,
        step_flop=passes * forward_flop,
        leaf_elements=leaf_elements,
    )


def _embed(backbone: nn.Module, images_BHWC: torch.Tensor, flip_B: torch.Tensor, precision: str) -> torch.Tensor:
    # As TrainStep.embed does it.
    x_BCHW = to_input(images_BHWC, flip_B)
    with torch.autocast("cpu", dtype=_AUTOCAST[precision], enabled=precision != "fp32"):
        return backbone(x_BCHW)


def _make_fake(module: nn.Module, *, gpu: bool) -> None:
    """Put fake tensors in place of meta tensors, convolutions in channels_last as in training."""
    for part in list(module.modules()):
        for values in (part._parameters, part._buffers):
            for name, value in values.items():
                if value is None:
                    continue
                layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
                fake = torch.empty(value.shape, dtype=value.dtype, memory_format=layout)
                values[name] = nn.Parameter(fake, value.requires_grad) if values is part._parameters else fake
        if gpu and isinstance(part, GroupedConv2d):
            part.__class__ = nn.Conv2d  # its detours are for the kernels of CPUs
        if isinstance(part, PReLU):
            part.__class__ = nn.PReLU  # the same memory, without a loop over the samples in backward


def _count_forward(backbone: nn.Module, image_size: int) -> tuple[int, int]:
    """Operations of a forward pass per image, and elements that the innermost modules put out."""
    # torch counts the fused attention of GPUs only.
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop}
    backbone.eval()
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=attention) as counter:
        with _leaf_outputs(backbone) as elements:
            backbone(torch.empty(1, 3, image_size, image_size))
    backbone.train()
    return counter.get_total_flops(), sum(elements)


@contextmanager
def _leaf_outputs(backbone: nn.Module) -> Iterator[list[int]]:
    """Collects the elements that every innermost module puts out."""
    elements = []

    def count(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        elements.append(output.numel())

    leaves = [module for module in backbone.modules() if not any(module.children())]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    yield elements
    for handle in handles:
        handle.remove()


def _drop_gradient(parameter: torch.Tensor) -> None:
    parameter.grad = None


def _attention_flop(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], *_: Any, **__: Any) -> int:
    batch, heads, length, width = q
    return 2 * batch * heads * length * k[2] * (width + v[3])
