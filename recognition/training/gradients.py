"""Gradients, and whatever else shall be the same on all ranks, averaged by one collective in one order.

What DDP does beside the backward pass, without its buckets: these are laid out by the first pass, so that a run that
goes on could round its sums otherwise than one without a break. For models that are small beside their activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from recognition.collectives import all_reduce_mean
from recognition.runtime import Runtime


def average_gradients(parameters: Iterable[nn.Parameter], runtime: Runtime) -> None:
    """Give every parameter the mean of its gradients over the ranks; one without a gradient counts 0."""
    if runtime.world == 1:
        return
    parameters = list(parameters)
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    for parameter, mean in zip(parameters, _means(grads, runtime, "gradients")):
        parameter.grad = mean


@torch.no_grad()
def average_buffers(module: nn.Module, runtime: Runtime) -> None:
    """Give every floating-point buffer (statistics of BatchNorm) its mean over the ranks."""
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    if runtime.world == 1 or not buffers:
        return
    for buffer, mean in zip(buffers, _means(buffers, runtime, "running statistics")):
        buffer.copy_(mean)


def _means(tensors: Sequence[Tensor], runtime: Runtime, what: str) -> list[Tensor]:
    mean = all_reduce_mean(torch.cat([tensor.flatten() for tensor in tensors]), runtime, what=what)
    return [part.view_as(tensor) for tensor, part in zip(tensors, mean.split([t.numel() for t in tensors]))]
