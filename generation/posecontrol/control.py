"""The branch that turns a face: it sees the source and the poses, and adds to a generator's stages.

As in ControlNet (Zhang et al., arXiv:2302.05543) it acts through layers that begin at zero: at first the generator does
as if there were no control, whatever the pose.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generation.posecontrol.blocks import Joining, ResidualBlock, sized, zeroed
from generation.posecontrol.encoders import Encoded
from generation.posecontrol.generators import STAGES, Control, stage_sides, stage_widths
from recognition.errors import InputError


class VectorControl(nn.Module):
    """Control of a VectorGenerator: layer 0 adds to its vector, layer k to all pixels of stage k - 1."""

    most_layers = STAGES + 1

    def __init__(self, feature_dim: int, pose_dim: int, width: int, num_layers: int) -> None:
        super().__init__()
        require_layers(num_layers, self.most_layers)
        sizes = (feature_dim, *stage_widths(width))[:num_layers]
        self.enter = nn.Linear(feature_dim + 2 * pose_dim, feature_dim)
        self.layers = nn.ModuleList(nn.Linear(feature_dim, feature_dim) for _ in sizes)
        self.leave = nn.ModuleList(zeroed(nn.Linear(feature_dim, size)) for size in sizes)

    def forward(self, encoded: Encoded, features_BF: Tensor, poses_BQ: Tensor) -> Control:
        """`poses_BQ`: target pose and what the source's is thought to be, side by side."""
        h, added = self.enter(torch.cat([features_BF, poses_BQ], 1)), []
        for layer, leave in zip(self.layers, self.leave):
            h = h + layer(F.silu(h))
            added.append(leave(F.silu(h)))
        return Control(added)


class SpatialControl(nn.Module):
    """Control of a SpatialGenerator: layer k looks at the map of stage k, points to where its pixels come from, adds.

    Flows grow finer from stage to stage: each adds to the one before.
    """

    most_layers = STAGES - 1

    def __init__(
        self, channels: Sequence[int], feature_dim: int, pose_dim: int, image_size: int, width: int, num_layers: int
    ) -> None:
        super().__init__()
        require_layers(num_layers, self.most_layers)
        self.sides = stage_sides(image_size)[:num_layers]
        widths, seen = stage_widths(width)[:num_layers], list(reversed(channels))[:num_layers]
        self.enter = nn.Sequential(nn.Linear(feature_dim + 2 * pose_dim, 8 * width), nn.SiLU())
        self.told = nn.ModuleList(nn.Linear(8 * width, 2 * here) for here in widths)
        self.joins = nn.ModuleList(Joining(a, b) for a, b in zip(seen, widths))
        self.blocks = nn.ModuleList(ResidualBlock(above + here, here) for above, here in zip((0, *widths), widths))
        self.mixes = nn.ModuleList(ResidualBlock(here, here) for here in widths)
        self.point = nn.ModuleList(zeroed(nn.Conv2d(here, 2, 3, 1, 1)) for here in widths)
        self.leave = nn.ModuleList(zeroed(nn.Conv2d(here, here, 1)) for here in widths)

    def forward(self, encoded: Encoded, features_BF: Tensor, poses_BQ: Tensor) -> Control:
        """See VectorControl."""
        told = self.enter(torch.cat([features_BF, poses_BQ], 1))
        maps, h, flow, added, flows = tuple(reversed(encoded.maps)), None, None, [], []
        for stage, side in enumerate(self.sides):
            seen = self.joins[stage](sized(maps[stage], side))
            h = self.blocks[stage](seen if h is None else torch.cat([sized(h, side), seen], 1))
            scale, shift = self.told[stage](told)[:, :, None, None].chunk(2, 1)
            h = self.mixes[stage](h * (1 + scale) + shift)
            pointed = self.point[stage](h).float()
            flow = pointed if flow is None else sized(flow, side) + pointed
            flows.append(flow)
            added.append(self.leave[stage](h))
        return Control(added, flows)


def require_layers(num_layers: int, most: int) -> None:
    """InputError where a control branch cannot have so many layers."""
    if not 1 <= num_layers <= most:
        raise InputError(f"num_control_layers={num_layers}: this generator takes 1 to {most}")
