"""Every backbone by the name that arcface_torch gives it, with a tiny twin of each family for tests."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial

from torch import nn

from recognition.backbones.iresnet import IResNet
from recognition.backbones.mobilefacenet import MobileFaceNet
from recognition.backbones.vit import PATCH_SIZE, VisionTransformer
from recognition.errors import InputError

_IRESNETS = {
    "r18": (2, 2, 2, 2),
    "r34": (3, 4, 6, 3),
    "r50": (3, 4, 14, 3),
    "r100": (3, 13, 30, 3),
    "r200": (6, 26, 60, 6),
    "r2060": (3, 128, 896, 3),
    "r_tiny": (1, 1, 1, 1),
}
# Without these segments the activations of r2060 fit no device, so they are not an option.
_R2060_SEGMENTS = {"layer2": 20, "layer3": 100}

_MOBILEFACENETS = {
    "mbf": partial(MobileFaceNet, (1, 4, 6, 2), 2),
    "mbf_large": partial(MobileFaceNet, (2, 8, 12, 4), 4),
    "mbf_tiny": partial(MobileFaceNet, (1, 1, 1, 1), 2, base=8),
}

# arcface_torch hides 10 % of the patches in every network that masks at all: the ratio in the names *_mask_005 is
# never read there. The published figures were trained so, and so are these.
_VITS = {
    "vit_t": partial(VisionTransformer, 256, 12, drop_path=0.1, mask_ratio=0.1),
    "vit_t_dp005_mask0": partial(VisionTransformer, 256, 12, drop_path=0.05),
    "vit_s": partial(VisionTransformer, 512, 12, drop_path=0.1, mask_ratio=0.1),
    "vit_s_dp005_mask_0": partial(VisionTransformer, 512, 12, drop_path=0.05),
    "vit_b": partial(VisionTransformer, 512, 24, drop_path=0.1, mask_ratio=0.1),
    "vit_b_dp005_mask_005": partial(VisionTransformer, 512, 24, drop_path=0.05, mask_ratio=0.1),
    "vit_l_dp005_mask_005": partial(VisionTransformer, 768, 24, drop_path=0.05, mask_ratio=0.1),
    "vit_h": partial(VisionTransformer, 1024, 48, drop_path=0.1),
    "vit_tiny": partial(VisionTransformer, 32, 2, heads=4, drop_path=0.1, mask_ratio=0.1),
}
# arcface_torch recomputes these without being asked; recipes written for it rely on the memory that saves.
_ALWAYS_CHECKPOINTED = {"vit_b", "vit_b_dp005_mask_005", "vit_l_dp005_mask_005", "vit_h"}


def backbone_names() -> list[str]:
    """Every name that `build_backbone` takes, smallest network of each family first, tiny twins last."""
    names = [*_IRESNETS, *_MOBILEFACENETS, *_VITS]
    return sorted(names, key=lambda name: name.endswith("_tiny"))


def build_backbone(
    name: str,
    embedding_size: int = 512,
    dropout: float = 0.0,
    *,
    gradient_checkpointing: bool = False,
    image_size: int = 112,
) -> nn.Module:
    """Build an untrained network that maps images (B, 3, S, S) in [-1, 1] to float32 embeddings (B, embedding_size).

    `dropout` acts on the flattened features in front of the last linear layers, `image_size` is S in pixels.
    r2060, vit_b, vit_l and vit_h are recomputed in backward whatever `gradient_checkpointing` says.
    InputError for an unknown name (naming the nearest one) or an argument out of range.
    """
    require_known(name)
    if embedding_size < 1:
        raise InputError(f"embedding_size={embedding_size} must be at least 1")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout={dropout} must lie in [0, 1)")
    if name in _VITS:
        if image_size < PATCH_SIZE:
            raise InputError(f"image_size={image_size} is below the {PATCH_SIZE} px of one patch of {name}")
    elif image_size < 16 or image_size % 16:
        raise InputError(f"image_size={image_size} must be a positive multiple of 16 for {name}")
    shape = {"embedding_size": embedding_size, "dropout": dropout, "image_size": image_size}
    checkpointing = gradient_checkpointing or name in _ALWAYS_CHECKPOINTED
    if name in _IRESNETS:
        return _iresnet(name, gradient_checkpointing, **shape)
    return (_MOBILEFACENETS | _VITS)[name](gradient_checkpointing=checkpointing, **shape)


def tiny_twin(name: str) -> str:
    """The network of the same family that trains in milliseconds: r_tiny, mbf_tiny or vit_tiny."""
    require_known(name)
    return "r_tiny" if name in _IRESNETS else "mbf_tiny" if name in _MOBILEFACENETS else "vit_tiny"


def require_known(name: str) -> None:
    """InputError naming the nearest backbone when there is none called `name`."""
    names = backbone_names()
    if name not in names:
        nearest = get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise InputError(f"network={name!r} is not known; did you mean {nearest!r}? Known: {', '.join(names)}")


def _iresnet(name: str, gradient_checkpointing: bool, **shape: float) -> IResNet:
    depths = _IRESNETS[name]
    segments = dict(_R2060_SEGMENTS) if name == "r2060" else {}
    if gradient_checkpointing:
        # One segment a block, but for the stages that are too deep to keep even the inputs of all blocks.
        segments = {f"layer{i}": depth for i, depth in enumerate(depths, start=1)} | segments
    # Not below 16: oneDNN 3.x crashes in the backward of 1x1 strided channels_last convolutions of 8 channels.
    widths = (16, 16, 32, 64) if name == "r_tiny" else (64, 128, 256, 512)
    return IResNet(depths, widths=widths, checkpoint_segments=segments, **shape)
