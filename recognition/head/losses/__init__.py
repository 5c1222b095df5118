"""The losses that train on the sharded head, one file each, and the choice among them by config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from recognition.head.losses.adaface import AdaFace
from recognition.head.losses.curricularface import CurricularFace
from recognition.head.losses.magface import MagFace
from recognition.head.losses.subcenter_arcface import SubcenterArcFace
from recognition.head.losses.uniface import UniFace
from recognition.head.margins import CombinedMarginLoss
from recognition.head.objective import Objective

if TYPE_CHECKING:
    from recognition.config import TrainConfig

__all__ = ["AdaFace", "CurricularFace", "LOSSES", "MagFace", "SubcenterArcFace", "UniFace", "build_objective"]


def build_objective(cfg: TrainConfig) -> Objective:
    """The loss that `cfg.loss` names, with its parameters; `cfg.num_classes` must be known."""
    return LOSSES[cfg.loss](cfg)


def _combined(cfg: TrainConfig) -> Objective:
    return CombinedMarginLoss(
        cfg.scale, *cfg.margin_list, cfg.interclass_filtering_threshold, margin_gradient=cfg.margin_gradient
    )


def _subcenter_arcface(cfg: TrainConfig) -> Objective:
    return SubcenterArcFace(
        cfg.scale,
        *cfg.margin_list,
        cfg.interclass_filtering_threshold,
        margin_gradient=cfg.margin_gradient,
        subcenters=cfg.sub_centers,
    )


def _adaface(cfg: TrainConfig) -> Objective:
    return AdaFace(cfg.scale, cfg.adaface_m, cfg.adaface_h, cfg.adaface_t_alpha)


def _magface(cfg: TrainConfig) -> Objective:
    return MagFace(cfg.scale, cfg.magface_norms, cfg.magface_margins, cfg.magface_lambda_g)


def _curricularface(cfg: TrainConfig) -> Objective:
    return CurricularFace(cfg.scale, cfg.curricularface_m, cfg.curricularface_t_alpha)


def _uniface(cfg: TrainConfig) -> Objective:
    return UniFace(
        cfg.scale,
        cfg.uniface_m,
        num_classes=cfg.num_classes,
        sample_rate=cfg.sample_rate,
        negative_weight=cfg.uniface_lambda,
    )


# What `loss` may say.
LOSSES: Mapping[str, Callable[[TrainConfig], Objective]] = MappingProxyType(
    {
        "combined": _combined,
        "adaface": _adaface,
        "magface": _magface,
        "curricularface": _curricularface,
        "subcenter_arcface": _subcenter_arcface,
        "uniface": _uniface,
    }
)
