"""Optimizers of class centres that update the rows of a step and no others.

A row is (P, D): the centre, then what the optimizer remembers of it. R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recognition.errors import InputError

LAZY = ("exact", "skip")


@dataclass(frozen=True)
class RowSGD:
    """SGD with momentum and weight decay: m <- mu m + (g + wd w), w <- w - lr m, as torch.optim.SGD.

    A row that no step touches obeys the linear map of `transition`; with lazy="exact" the maps of all steps that it
    missed are applied, as one 2 x 2 matrix, when it is next touched: dense SGD at the cost of the touched rows.
    lazy="skip" leaves rows as they were last touched.
    """

    momentum: float = 0.9
    weight_decay: float = 5e-4
    lazy: str = "exact"

    slots = 1

    def __post_init__(self) -> None:
        if self.lazy not in LAZY:
            raise InputError(f"lazy={self.lazy!r} must be one of {', '.join(LAZY)}")

    @property
    def gradient_decay(self) -> float:
        """Weight decay that belongs to the gradient."""
        return self.weight_decay

    @property
    def catches_up(self) -> bool:
        """Whether rows owe something for the steps that they missed."""
        return self.lazy == "exact" and (self.momentum > 0 or self.weight_decay > 0)

    def transition(self, lr: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """What a step without a gradient does to (w, m)."""
        mu, decay = self.momentum, self.weight_decay
        return (1 - lr * decay, -lr * mu), (decay, mu)

    def update_(self, rows_RPD: torch.Tensor, grad_RD: torch.Tensor, lr: float, touched_R: torch.Tensor | int) -> None:
        """One step of rows in place; `grad_RD` includes the weight decay."""
        center_RD, momentum_RD = rows_RPD.unbind(1)
        torch.add(grad_RD, momentum_RD, alpha=self.momentum, out=momentum_RD)
        center_RD.sub_(momentum_RD, alpha=lr)


@dataclass(frozen=True)
class RowAdamW:
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) over touched rows only.

    The bias correction counts the touches of the row, not the steps of the run: a row's first update is then as long as
    any parameter's first, however late it comes. Equal to torch.optim.AdamW where every step touches every row.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    slots = 2
    gradient_decay = 0.0
    catches_up = False

    def update_(self, rows_RPD: torch.Tensor, grad_RD: torch.Tensor, lr: float, touched_R: torch.Tensor | int) -> None:
        """One step of rows in place; `touched_R` counts their updates before this one."""
        center_RD, mean_RD, square_RD = rows_RPD.unbind(1)
        beta1, beta2 = self.betas
        count_R1 = torch.as_tensor(touched_R, device=grad_RD.device).reshape(-1, 1).to(torch.float64) + 1
        step_R1 = (lr / (1 - beta1**count_R1)).to(grad_RD.dtype)
        root_R1 = (1 - beta2**count_R1).sqrt().to(grad_RD.dtype)
        center_RD.mul_(1 - lr * self.weight_decay)
        mean_RD.lerp_(grad_RD, 1 - beta1)
        square_RD.mul_(beta2).addcmul_(grad_RD, grad_RD, value=1 - beta2)
        center_RD.sub_(mean_RD / (square_RD.sqrt() / root_R1 + self.eps) * step_R1)


RowOptimizer = RowSGD | RowAdamW
