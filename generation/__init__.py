"""Generation with frozen recognition backbones; imports `recognition`, never the reverse."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name -> where it lives: importing the package costs nothing, and what is used is loaded when it is used.
_HOMES = {
    "ArcFaceLoss": "generation.identity.evaluation",
    "BiSeNet": "generation.parsing.bisenet",
    "DifferentiableFaceLoss": "generation.identity.face_loss",
    "DifferentiableFaceLossWrapper": "generation.identity.wrappers",
    "FaceLossWrapper": "generation.identity.wrappers",
    "FrozenBackbone": "generation.backbone",
    "ImageControlNet": "generation.posecontrol.control_net",
    "StarGANDiscriminator": "generation.stargan.networks",
    "StarGANGenerator": "generation.stargan.networks",
    "Taps": "generation.backbone",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
