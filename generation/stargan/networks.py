"""The two networks of StarGAN (Choi et al. 2018, arXiv:1711.09020, tables 4 and 5).

Modules lie where the authors' own code has them, so that their checkpoints load. Instance norms have no running
statistics: with them a network would answer otherwise in evaluation than it was trained to.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recognition.errors import InputError

HALVINGS = 2  # of the picture's sides on the way to the residual blocks
SLOPE = 0.01
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class ResidualBlock(nn.Module):
    """Two convolutions beside a way around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *_convolution(width, width, kernel=3), nn.ReLU(inplace=True), *_convolution(width, width, kernel=3)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same shape."""
        return x_BCHW + self.main(x_BCHW)


class StarGANGenerator(nn.Module):
    """Pictures and the attributes that they shall have -> pictures; 8,430,528 parameters as it is by default.

    `conv_dim`: channels of the first layer; `c_dim`: attributes; `repeat_num`: residual blocks. `residual`: what comes
    out is added to the picture, and is nothing at first; the paper's makes the picture anew.
    """

    def __init__(self, conv_dim: int = 64, c_dim: int = 5, repeat_num: int = 6, *, residual: bool = False) -> None:
        super().__init__()
        self.conv_dim, self.c_dim, self.repeat_num, self.residual = conv_dim, c_dim, repeat_num, residual
        width = conv_dim
        layers: list[nn.Module] = [*_convolution(3 + c_dim, width, kernel=7), nn.ReLU(inplace=True)]
        for _ in range(HALVINGS):
            layers += [*_convolution(width, 2 * width, kernel=4, stride=2), nn.ReLU(inplace=True)]
            width *= 2
        layers += [ResidualBlock(width) for _ in range(repeat_num)]
        for _ in range(HALVINGS):
            up = nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False)
            layers += [up, _norm(width // 2), nn.ReLU(inplace=True)]
            width //= 2
        layers += [nn.Conv2d(width, 3, 7, 1, 3, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)
        if residual:
            nn.init.zeros_(self.main[-2].weight)

    def forward(self, img11_BCHW: Tensor, labels_BA: Tensor) -> Tensor:
        """Pictures in [-1, 1], sides a multiple of 4, and attributes 0 or 1, float (B, c_dim) -> pictures alike."""
        planes_BAHW = labels_BA.to(img11_BCHW)[:, :, None, None].expand(-1, -1, *img11_BCHW.shape[2:])
        made_BCHW = self.main(torch.cat([img11_BCHW, planes_BAHW], dim=1))
        return (img11_BCHW + made_BCHW).clamp(-1, 1) if self.residual else made_BCHW


class StarGANDiscriminator(nn.Module):
    """Pictures -> how real each patch is, and which attributes the whole has; 44,884,928 parameters by default.

    Without a norm: the gradient penalty is one of each picture alone. InputError where `image_size` is no multiple of
    2^`repeat_num`, by which the patches are smaller.
    """

    def __init__(self, image_size: int = 256, conv_dim: int = 64, c_dim: int = 5, repeat_num: int = 6) -> None:
        super().__init__()
        self.image_size, self.conv_dim, self.c_dim, self.repeat_num = image_size, conv_dim, c_dim, repeat_num
        side, rest = divmod(image_size, 2**repeat_num)
        if rest or not side:
            raise InputError(
                f"image_size {image_size} must be a multiple of {2**repeat_num}, which {repeat_num} layers of the "
                "discriminator divide it by; change one of the two (d_repeat_num)"
            )
        layers: list[nn.Module] = []
        inputs, width = 3, conv_dim
        for _ in range(repeat_num):
            layers += [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            inputs, width = width, 2 * width
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(inputs, 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(inputs, c_dim, side, bias=False)

    def forward(self, img11_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures in [-1, 1] -> (B, 1, S, S) higher for real ones, and logits (B, c_dim)."""
        features_BCHW = self.main(img11_BCHW)
        return self.conv1(features_BCHW), self.conv2(features_BCHW).flatten(1)


def load_published(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Give a network weights that its authors' code wrote; InputError, with `where`, for what does not fit.

    Running statistics of instance norms, which that code keeps and in training never uses, are left out.
    """
    kept = {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] not in _STATISTICS}
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        raise InputError(f"{where} does not fit this network: {' '.join(str(error).split())[:300]}") from error


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    padding = (kernel - 1) // 2
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), _norm(outputs)


def _norm(width: int) -> nn.Module:
    return nn.InstanceNorm2d(width, affine=True)
