"""From what the encoder sees to a picture in [-1, 1]: through one vector, or through maps that keep places.

Each takes what the control branch adds at each stage, None for nothing: then it gives the source picture back, as well
as it can. Stages go from coarse to fine: 1/16, 1/8, 1/4, 1/2 and the whole of the picture's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from generation.posecontrol.blocks import Joining, ResidualBlock, moved, sized
from generation.posecontrol.encoders import Encoded

STAGES = 5
COARSEST = 16  # the first stage's pixel, in pixels of the picture
_KEPT = 2.0  # logit of the share of the moved source that is shown at the start


class Control(NamedTuple):
    """What the control branch adds to stages 0, 1, ... of a generator, and where each pixel of the maps comes from."""

    added: Sequence[Tensor]
    flows: Sequence[Tensor] = ()


def stage_widths(width: int) -> tuple[int, ...]:
    """Channels of the stages, coarse to fine."""
    return 8 * width, 4 * width, 2 * width, width, width


def stage_sides(image_size: int) -> tuple[int, ...]:
    """Pixels along a side of the stages, coarse to fine."""
    return tuple(image_size >> (STAGES - 1 - stage) for stage in range(STAGES))


class VectorGenerator(nn.Module):
    """A vector (B, F) -> a picture (B, 3, S, S): nothing of where a thing was passes but through these F numbers.

    `added[0]` (B, F) goes to the vector, the following ones (B, C) to all pixels of stages 0, 1, ...
    """

    def __init__(self, feature_dim: int, image_size: int, width: int) -> None:
        super().__init__()
        self.sides, widths = stage_sides(image_size), stage_widths(width)
        self.first = nn.Linear(feature_dim, widths[0] * self.sides[0] ** 2)
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in zip((widths[0], *widths), widths))
        self.last = nn.Conv2d(widths[-1], 3, 3, 1, 1)

    def forward(self, img11_BCHW: Tensor, encoded: Encoded, features_BF: Tensor, control: Control | None) -> Tensor:
        """The picture; of the source only the vector counts."""
        added = list(control.added) if control else []
        if added:
            features_BF = features_BF + added.pop(0)
        x = self.first(features_BF).unflatten(1, (-1, self.sides[0], self.sides[0]))
        for side, block in zip(self.sides, self.blocks):
            x = block(sized(x, side))
            if added:
                x = x + added.pop(0)[:, :, None, None]
        return torch.tanh(self.last(x).float())


class SpatialGenerator(nn.Module):
    """A U-Net over the encoder's maps and the picture itself, all moved by the control's flow before they are joined.

    What can be seen in the source is moved and shown, a share of each pixel that the network chooses; the rest it
    paints. `added[stage]` (B, C, H, W) goes to its stage, `flows[stage]` (see `blocks.moved`) moves the map that joins
    there; stages beyond the last flow are moved by that one.
    """

    def __init__(self, channels: Sequence[int], image_size: int, width: int) -> None:
        super().__init__()
        self.sides, widths = stage_sides(image_size), stage_widths(width)
        self.stem = nn.Conv2d(3, widths[-1], 3, 1, 1)
        self.joins = nn.ModuleList(Joining(a, b) for a, b in zip(reversed(channels), widths))
        self.joins.append(nn.Identity())
        self.blocks = nn.ModuleList(ResidualBlock(above + here, here) for above, here in zip((0, *widths[:-1]), widths))
        self.last = nn.Conv2d(widths[-1], 4, 3, 1, 1)
        with torch.no_grad():
            self.last.bias[3] = _KEPT

    def forward(self, img11_BCHW: Tensor, encoded: Encoded, features_BF: Tensor, control: Control | None) -> Tensor:
        """The picture; the vector does not count."""
        added, flows = (control.added, control.flows) if control else ((), ())
        maps = (*reversed(encoded.maps), self.stem(img11_BCHW))
        x = None
        for stage, (side, join, block) in enumerate(zip(self.sides, self.joins, self.blocks)):
            flow = flows[min(stage, len(flows) - 1)] if flows else None
            seen = moved(join(sized(maps[stage], side)), flow)
            x = block(seen if x is None else torch.cat([sized(x, side), seen], 1))
            if stage < len(added):
                x = x + added[stage]
        painted, kept = self.last(x).float().split([3, 1], 1)
        shown = moved(img11_BCHW, flows[-1] if flows else None)
        return torch.lerp(torch.tanh(painted), shown, torch.sigmoid(kept))
