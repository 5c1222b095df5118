"""What the two networks of StarGAN are trained by (Choi et al. 2018, arXiv:1711.09020, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.stargan.networks import StarGANDiscriminator


def classification_loss(logits_BA: Tensor, labels_BA: Tensor) -> Tensor:
    """Binary cross-entropy of attributes 0 or 1: summed over attributes, mean over pictures (eqs. 2 and 3).

    A picture may have any number of attributes, so this is no cross-entropy of one class among many.
    """
    logits_BA = logits_BA.float()
    return F.binary_cross_entropy_with_logits(logits_BA, labels_BA.to(logits_BA), reduction="sum") / len(logits_BA)


def gradient_penalty(
    discriminator: StarGANDiscriminator, real_BCHW: Tensor, made_BCHW: Tensor, shares_B: Tensor
) -> Tensor:
    """E[(|gradient of D(x) by x| - 1)^2], x between a real picture and one made (Gulrajani et al. 2017, eq. 3).

    `shares_B` in [0, 1]: how much of x is real. In float32, whatever autocast is on: squares of gradients of gradients
    leave the range of 16 bits.
    """
    with torch.autocast(real_BCHW.device.type, enabled=False):
        shares_B111 = shares_B.to(real_BCHW.device, torch.float32)[:, None, None, None]
        between_BCHW = torch.lerp(made_BCHW.detach().float(), real_BCHW.float(), shares_B111).requires_grad_()
        realness_B1HW, _ = discriminator(between_BCHW)
        (slope_BCHW,) = torch.autograd.grad(realness_B1HW.sum(), between_BCHW, create_graph=True)
        return (slope_BCHW.flatten(1).norm(dim=1) - 1).square().mean()


def reconstruction_loss(back_BCHW: Tensor, img11_BCHW: Tensor) -> Tensor:
    """Mean |difference| between pictures and their edits undone (eq. 4)."""
    return (back_BCHW.float() - img11_BCHW.float()).abs().mean()


def keeping_loss(made_BCHW: Tensor, img11_BCHW: Tensor, keep_B1HW: Tensor) -> Tensor:
    """Mean |difference| between pictures and their edits where `keep_B1HW`, bool, says; 0 where it says so nowhere."""
    difference_BCHW = (made_BCHW.float() - img11_BCHW.float()).abs()
    count = keep_B1HW.sum() * made_BCHW.shape[1]
    return (difference_BCHW * keep_B1HW).sum() / count.clamp_min(1)
