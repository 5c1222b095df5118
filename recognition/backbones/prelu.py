"""PReLU with the keys and values of `nn.PReLU` and, on a CPU, a backward pass that is several times as fast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

CHUNK_ELEMENTS = 2**20  # of one tensor; three of them fit the last-level cache share of a core


class PReLU(nn.PReLU):
    """f(x) = max(0, x) + a min(0, x) with one learnt slope a per channel: He et al. (arXiv:1502.01852), equation 1."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape and dtype."""
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if x_BCHW.device.type != "cpu" or not torch.is_grad_enabled() or traced:
            return F.prelu(x_BCHW, self.weight)
        slope_1C11 = self.weight.to(x_BCHW.dtype).view(1, -1, 1, 1)
        return _SlopedRectifier.apply(x_BCHW, slope_1C11)


class _SlopedRectifier(torch.autograd.Function):
    """The stock CPU kernel computes both gradients element by element; here every pass is vectorised."""

    @staticmethod
    def forward(ctx: FunctionCtx, x_BCHW: Tensor, slope_1C11: Tensor) -> Tensor:
        ctx.save_for_backward(x_BCHW, slope_1C11)
        return F.prelu(x_BCHW, slope_1C11.flatten())

    @staticmethod
    def backward(ctx: FunctionCtx, grad_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        x_BCHW, slope_1C11 = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable_gradients(x_BCHW, slope_1C11, grad_BCHW)
        return _gradients(x_BCHW, slope_1C11, grad_BCHW)


def _differentiable_gradients(x_BCHW: Tensor, slope_1C11: Tensor, grad_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    grad_x_BCHW = torch.where(x_BCHW > 0, grad_BCHW, slope_1C11 * grad_BCHW)
    return grad_x_BCHW, (x_BCHW.clamp_max(0) * grad_BCHW).sum((0, 2, 3), keepdim=True)


def _gradients(x_BCHW: Tensor, slope_1C11: Tensor, grad_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """The same without a graph: in place, and a few samples at a time so that the passes meet in cache."""
    grad_x_BCHW = torch.empty_like(x_BCHW)
    grad_slope_1C11 = torch.zeros_like(slope_1C11, dtype=torch.promote_types(slope_1C11.dtype, torch.float32))
    samples = max(1, CHUNK_ELEMENTS // max(1, x_BCHW[:1].numel()))
    for x, grad, grad_x in zip(x_BCHW.split(samples), grad_BCHW.split(samples), grad_x_BCHW.split(samples)):
        grad_slope_1C11 += x.clamp_max(0).mul_(grad).sum((0, 2, 3), keepdim=True)
        # Start from 0 or the gradient, go a share `slope` of the way to the gradient: slope * gradient or gradient.
        torch.lerp(torch.ops.aten.threshold_backward(grad, x, 0), grad, slope_1C11, out=grad_x)
    return grad_x_BCHW, grad_slope_1C11.to(slope_1C11.dtype)
