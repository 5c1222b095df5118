"""ImageControlNet: a picture of a face and a pose -> the same face in that pose."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from generation.backbone import FrozenBackbone
from generation.posecontrol.control import SpatialControl, VectorControl
from generation.posecontrol.encoders import CNN, RECOGNISER, Encoded, build_encoder
from generation.posecontrol.generators import COARSEST, SpatialGenerator, VectorGenerator
from generation.posecontrol.pose_code import angles_of_code, encoded_pose, require_pose_dim
from recognition.errors import InputError

SPATIAL, VECTOR = "spatial", "vector"
BATCH, LAYER = "batch", "layer"


class Posed(NamedTuple):
    """A generated picture (B, 3, S, S) in [-1, 1], and the pose that the source was seen in (B, pose_dim)."""

    image_BCHW: Tensor
    source_pose_BP: Tensor


class ImageControlNet(nn.Module):
    """Turns faces: encoder, projection to `feature_dim` numbers, pose head, control branch and generator.

    `use_insightface`: the encoder is a face recogniser, `recogniser` names its run or weights, or is a FrozenBackbone;
    without it a small network is trained in its place. `encoder` names one more exactly ("recogniser",
    "timm:resnet50", "cnn"; see encoders.py), `encoder_weights` a file for timm's, and `strict_encoder` takes no
    substitute. `freeze_backbone=False` trains the encoder along. `num_control_layers`: stages that the control acts on,
    from the coarsest. `generator`: "spatial" keeps places, "vector" makes the picture of the `feature_dim` numbers
    alone. `proj_norm`: "batch", or "layer" where batches of one picture are to be trained on. InputError for what does
    not go together.
    """

    def __init__(
        self,
        feature_dim: int = 512,
        pose_dim: int = 3,
        image_size: int = 112,
        use_insightface: bool = True,
        freeze_backbone: bool = True,
        num_control_layers: int = 3,
        freeze_generator: bool = False,
        *,
        encoder: str | None = None,
        recogniser: FrozenBackbone | str | PathLike | None = None,
        encoder_weights: str | PathLike | None = None,
        strict_encoder: bool = False,
        generator: str = SPATIAL,
        generator_width: int = 32,
        proj_norm: str = BATCH,
    ) -> None:
        super().__init__()
        require_pose_dim(pose_dim)
        for name, value, known in (
            ("generator", generator, (SPATIAL, VECTOR)),
            ("proj_norm", proj_norm, (BATCH, LAYER)),
        ):
            if value not in known:
                raise InputError(f"{name}={value!r}: use {' or '.join(known)}")
        if feature_dim < 2 or generator_width < 1:
            raise InputError(
                f"feature_dim={feature_dim} must be 2 or more, generator_width={generator_width} 1 or more"
            )
        if image_size < 2 * COARSEST or image_size % COARSEST:
            raise InputError(f"image_size={image_size}: use a multiple of {COARSEST}, {2 * COARSEST} or more")
        self.image_size, self.pose_dim = image_size, pose_dim
        self.encoder = build_encoder(
            encoder or (RECOGNISER if use_insightface else CNN),
            recogniser=recogniser,
            weights=encoder_weights,
            freeze=freeze_backbone,
            strict=strict_encoder,
        )
        channels = self.encoder.channels
        norm = {BATCH: nn.BatchNorm1d, LAYER: nn.LayerNorm}[proj_norm](feature_dim)
        self.feature_proj = nn.Sequential(nn.Linear(channels[-1], feature_dim), norm, nn.ReLU(inplace=True))
        self.pose_head = nn.Sequential(
            nn.Linear(feature_dim, feature_dim // 2), nn.ReLU(inplace=True), nn.Linear(feature_dim // 2, pose_dim)
        )
        if generator == SPATIAL:
            self.control = SpatialControl(
                channels, feature_dim, pose_dim, image_size, generator_width, num_control_layers
            )
            self.generator = SpatialGenerator(channels, image_size, generator_width)
        else:
            self.control = VectorControl(feature_dim, pose_dim, generator_width, num_control_layers)
            self.generator = VectorGenerator(feature_dim, image_size, generator_width)
        if freeze_generator:
            self.generator.requires_grad_(False)

    @classmethod
    def open(
        cls,
        checkpoint: str | PathLike,
        *,
        recogniser: FrozenBackbone | str | PathLike | None = None,
        device: str | torch.device = "cpu",
    ) -> ImageControlNet:
        """From a checkpoint of a training run, to use: in eval mode, without gradients to its weights.

        `recogniser`: where it lies now, if not where the run had it. InputError where it is another one.
        """
        from generation.posecontrol.checkpoint import read_checkpoint

        return read_checkpoint(Path(checkpoint)).model(recogniser=recogniser).to(device).eval().requires_grad_(False)

    def forward(self, image_BCHW: Tensor, pose_B3: Tensor) -> Posed:
        """Pictures in [-1, 1] (B, 3, S, S) in the poses (B, 3), degrees of pitch, yaw and roll (see pose.py)."""
        encoded, features_BF, source_pose_BP = self._seen(image_BCHW)
        # The pose head learns from poses, not from what would suit the generator.
        poses_BQ = torch.cat([encoded_pose(pose_B3, self.pose_dim), source_pose_BP.detach()], 1)
        control = self.control(encoded, features_BF, poses_BQ)
        return Posed(self.generator(image_BCHW, encoded, features_BF, control), source_pose_BP)

    def reconstruct(self, image_BCHW: Tensor) -> Posed:
        """The pictures again, without control: what the generator is trained to first, if it is to be frozen then."""
        encoded, features_BF, source_pose_BP = self._seen(image_BCHW)
        return Posed(self.generator(image_BCHW, encoded, features_BF, None), source_pose_BP)

    def angles_of(self, source_pose_BP: Tensor) -> Tensor:
        """Degrees of pitch, yaw and roll (B, 3) of what the pose head gives."""
        return angles_of_code(source_pose_BP)

    def _seen(self, image_BCHW: Tensor) -> tuple[Encoded, Tensor, Tensor]:
        if image_BCHW.shape[1:] != (3, self.image_size, self.image_size):
            raise InputError(
                f"pictures of shape {tuple(image_BCHW.shape)}: this model takes (B, 3, {self.image_size}, "
                f"{self.image_size})"
            )
        encoded = self.encoder(image_BCHW)
        features_BF = self.feature_proj(encoded.pooled_BC)
        return encoded, features_BF, self.pose_head(features_BF)
