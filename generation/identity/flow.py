"""Flow matching: times, noised samples, velocities, and what a prediction says of the sample without noise.

x0 is data, x1 noise, t in [0, 1] one time a sample, 0 at the data (Lipman et al., arXiv:2210.02747; Liu et al.,
arXiv:2209.03003). Samples have any shape (B, ...): latents (B, C, H, W) or packed ones (B, L, D). Models that count
time in thousandths are given 1000 * t by their caller.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recognition.errors import InputError

# (x_t, t_B) -> predicted velocity, of the shape of x_t.
Predict = Callable[[Tensor, Tensor], Tensor]
GRADIENTS = ("all", "last")


def sample_t(
    count: int,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """`count` times sigmoid(N(mean, std^2)), float32 (B,): the logit-normal of Esser et al. (arXiv:2403.03206), eq. 19.

    Drawn on the generator's device where one is given, so that a seed means the same on every `device`. InputError for
    a standard deviation below 0.
    """
    if std < 0:
        raise InputError(f"std={std:g} of the times' logits must not be below 0")
    drawn_on = device if generator is None else generator.device
    return torch.sigmoid(mean + std * torch.randn(count, generator=generator, device=drawn_on)).to(device)


def noised(x0: Tensor, x1: Tensor, t_B: Tensor) -> Tensor:
    """x_t = (1 - t) x0 + t x1."""
    t = _like(t_B, x0)
    return (1 - t) * x0 + t * x1


def velocity(x0: Tensor, x1: Tensor) -> Tensor:
    """v = d x_t / d t = x1 - x0: what the model is to predict."""
    return x1 - x0


def x0_estimate(x_t: Tensor, pred: Tensor, t_B: Tensor) -> Tensor:
    """The sample without noise if the predicted velocity holds all the way: x0_hat = x_t - t * pred."""
    return x_t - _like(t_B, x_t) * pred


def unrolled_estimate(
    predict: Predict, x_t: Tensor, t_B: Tensor, *, steps: int = 1, gradient: str = "all", pred: Tensor | None = None
) -> Tensor:
    """The sample without noise after `steps` equal Euler steps from t to 0; one step is `x0_estimate`.

    Every sample goes its own way in steps of t / `steps`. `pred` is the prediction at (x_t, t) where it is known, which
    saves one call. `gradient`: "all" keeps the graph of every step, with memory for each; "last" that of the last one,
    which is what a decoder's output depends on most directly. InputError for less than one step, or another `gradient`.
    """
    if steps < 1:
        raise InputError(f"steps={steps} of the unrolled estimate must be at least 1")
    if gradient not in GRADIENTS:
        raise InputError(f"gradient={gradient!r} is not known; use one of {', '.join(GRADIENTS)}")
    x = x_t
    for step in range(steps):
        with torch.set_grad_enabled(torch.is_grad_enabled() and (gradient == "all" or step == steps - 1)):
            at = pred if step == 0 and pred is not None else predict(x, t_B * ((steps - step) / steps))
            x = x0_estimate(x, at, t_B / steps)
    return x


def flow_loss(pred: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
    """Mean of (pred - (x1 - x0))^2 over samples and elements, at least float32: arXiv:2209.03003, eq. 1."""
    wide = torch.promote_types(pred.dtype, torch.float32)
    return (pred.to(wide) - velocity(x0.to(wide), x1.to(wide))).square().mean()


def time_weight(t_B: Tensor, *, max_t: float = 1.0, power: float = 0.0) -> Tensor:
    """Weight of a loss on `x0_estimate` at these times, (B,): (1 - t)^power up to `max_t`, 0 above.

    At t near 1 the estimate is a blurred mean of all pictures: a face found in it is nobody's. InputError for values
    out of range.
    """
    if not 0 < max_t <= 1:
        raise InputError(f"max_t={max_t:g} must lie in (0, 1]: the time above which a picture is too noisy to judge")
    if power < 0:
        raise InputError(f"power={power:g} must not be below 0: the weight falls with the time")
    return torch.where(t_B <= max_t, (1 - t_B) ** power, torch.zeros_like(t_B))


def _like(t_B: Tensor, x: Tensor) -> Tensor:
    """Times of the samples in x's type, shaped to multiply it; InputError unless there is one for each sample."""
    if t_B.shape != x.shape[:1]:
        raise InputError(f"{tuple(t_B.shape)} times for {tuple(x.shape)} samples; give one time a sample, shape (B,)")
    return t_B.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
