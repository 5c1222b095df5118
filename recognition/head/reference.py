"""Every loss of the head over all classes in plain autograd on one process: the oracle of its tests.

It shares no line with margins.py, losses/ or partial_fc.py on purpose: a mistake there must not be repeated here.
G global batch, D embedding, C classes, c centres of each class, S classes of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

State = dict[str, torch.Tensor]


def reference_loss(
    emb_GD: torch.Tensor,
    centers_CD: torch.Tensor,
    labels_G: torch.Tensor,
    *,
    s: float,
    m1: float,
    m2: float,
    m3: float,
    interclass_filtering_threshold: float = 0,
    margin_gradient: str = "exact",
    classes_S: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss over the global batch, and the mean target cosine before the margin; both scalars.

    `classes_S` (sorted int64) restricts the softmax to a sample of the classes, which must hold every label.
    """
    options = {"s": s, "m1": m1, "m2": m2, "m3": m3, "margin_gradient": margin_gradient}
    options["interclass_filtering_threshold"] = interclass_filtering_threshold
    return reference("combined", emb_GD, centers_CD, labels_G, {}, options, classes_S)[:2]


def reference(
    name: str,
    emb_GD: torch.Tensor,
    centers: torch.Tensor,
    labels_G: torch.Tensor,
    state: State,
    options: Mapping[str, Any],
    classes_S: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, State]:
    """Mean loss with regulariser, mean target cosine before the margin, and the state after the batch.

    `name` is that of the config key `loss`; `centers` are (C, D), or (C * c, D) with the c centres of a class in a row;
    `options` are the numbers of the formulas, under the names of the losses' constructors; `state` is
    `reference_state`'s or what the last call returned, its tensors may require gradients. `classes_S` (sorted int64)
    restricts all sums to a sample of the classes, which must hold every label.
    """
    centers_CcD = centers.unflatten(0, (-1, options.get("subcenters", 1)))
    if classes_S is not None:
        centers_CcD, labels_G = centers_CcD[classes_S], torch.searchsorted(classes_S, labels_G)
    cos_GC = torch.einsum("gd,jkd->gjk", F.normalize(emb_GD), F.normalize(centers_CcD, dim=2)).amax(2)
    is_target_GC = F.one_hot(labels_G, len(centers_CcD)).bool()
    arguments = (cos_GC, is_target_GC, emb_GD.norm(dim=1), state, options)
    loss, state = _FORMULAS[name](*arguments)
    return loss, cos_GC[is_target_GC].detach().mean(), state


def reference_state(name: str, options: Mapping[str, Any], dtype: torch.dtype = torch.float64) -> State:
    """Running statistics and parameters at the start, under the names that they have in the losses' state_dict."""
    start = {
        "adaface": {"norm_mean": 20.0, "norm_std": 100.0},
        "curricularface": {"t": 0.0},
        "uniface": {"b": math.log(10 * options.get("num_classes", 1) * options.get("sample_rate", 1.0))},
    }
    return {key: torch.tensor(value, dtype=dtype) for key, value in start.get(name, {}).items()}


def _combined(
    cos_GC: torch.Tensor, is_target_GC: torch.Tensor, norm_G: torch.Tensor, state: State, options: Mapping[str, Any]
) -> tuple[torch.Tensor, State]:
    """Deng et al. 2019, eq. 4, cos(m1 theta + m2) - m3; over the nearest centres also Deng et al. 2020."""
    m1, m2, m3 = options.get("m1", 1.0), options.get("m2", 0.5), options.get("m3", 0.0)
    cos_G = cos_GC[is_target_GC]
    phi_G = m1 * torch.arccos(cos_G) + m2
    if options.get("margin_gradient", "exact") == "straight_through":
        target_G = (torch.cos(phi_G) - m3 - cos_G).detach() + cos_G
    else:
        target_G = _falling(phi_G) - m3
    threshold = options.get("interclass_filtering_threshold", 0)
    others_GC = torch.where(cos_GC > threshold, torch.zeros_like(cos_GC), cos_GC) if threshold > 0 else cos_GC
    return _softmax(others_GC, target_G, is_target_GC, options["s"]), state


def _adaface(
    cos_GC: torch.Tensor, is_target_GC: torch.Tensor, norm_G: torch.Tensor, state: State, options: Mapping[str, Any]
) -> tuple[torch.Tensor, State]:
    """Kim et al. 2022, section 3.3; norms are clipped and std has 0.001 added as in the authors' code."""
    m, h, alpha = options.get("m", 0.4), options.get("h", 0.333), options.get("t_alpha", 0.01)
    norm_G = norm_G.detach().clip(0.001, 100)
    mean = alpha * norm_G.mean() + (1 - alpha) * state["norm_mean"]
    std = alpha * norm_G.std() + (1 - alpha) * state["norm_std"]
    quality_G = torch.clip((norm_G - mean) / (std + 0.001) * h, -1, 1)
    g_angle_G, g_add_G = -m * quality_G, m * quality_G + m
    theta_G = torch.arccos(cos_GC[is_target_GC])
    target_G = torch.cos(torch.clip(theta_G + g_angle_G, 0, math.pi)) - g_add_G
    return _softmax(cos_GC, target_G, is_target_GC, options["s"]), {"norm_mean": mean, "norm_std": std}


def _magface(
    cos_GC: torch.Tensor, is_target_GC: torch.Tensor, norm_G: torch.Tensor, state: State, options: Mapping[str, Any]
) -> tuple[torch.Tensor, State]:
    """Meng et al. 2021, section 3.2: the margin and the regulariser of the magnitude a."""
    (l_a, u_a), (l_m, u_m) = options.get("norms", (10, 110)), options.get("margins", (0.45, 0.8))
    a_G = torch.clip(norm_G, l_a, u_a)
    phi_G = torch.arccos(cos_GC[is_target_GC]) + (u_m - l_m) / (u_a - l_a) * (a_G - l_a) + l_m
    target_G = _falling(phi_G)
    g_G = 1 / a_G + a_G / u_a**2
    loss = _softmax(cos_GC, target_G, is_target_GC, options["s"]) + options.get("lambda_g", 35.0) * g_G.mean()
    return loss, state


def _curricularface(
    cos_GC: torch.Tensor, is_target_GC: torch.Tensor, norm_G: torch.Tensor, state: State, options: Mapping[str, Any]
) -> tuple[torch.Tensor, State]:
    """Huang et al. 2020, section 3.2; t has the batch in it already, as in the authors' code."""
    alpha = options.get("t_alpha", 0.01)
    cos_G = cos_GC[is_target_GC]
    t = (alpha * cos_G.mean() + (1 - alpha) * state["t"]).detach()
    phi_G = torch.arccos(cos_G) + options.get("m", 0.5)
    target_G = _falling(phi_G)
    others_GC = torch.where(cos_GC > target_G[:, None], cos_GC * (t + cos_GC), cos_GC)
    return _softmax(others_GC, target_G, is_target_GC, options["s"]), {"t": t}


def _uniface(
    cos_GC: torch.Tensor, is_target_GC: torch.Tensor, norm_G: torch.Tensor, state: State, options: Mapping[str, Any]
) -> tuple[torch.Tensor, State]:
    """Zhou et al. 2023, L_uce-m with lambda: two-class cross-entropies against one threshold b."""
    s, b = options["s"], state["b"]
    right_GC = -F.logsigmoid(s * (cos_GC - options.get("m", 0.4)) - b)
    wrong_GC = -F.logsigmoid(b - s * cos_GC) * options.get("negative_weight", 1.0)
    return torch.where(is_target_GC, right_GC, wrong_GC).sum(1).mean(), state


def _falling(phi_G: torch.Tensor) -> torch.Tensor:
    """Liu et al. 2017, eq. 7: on [k pi, (k + 1) pi] the cosine is mirrored and shifted so that it keeps falling."""
    target_G = torch.cos(phi_G)
    for k in range(1, 8):
        target_G = torch.where(phi_G >= k * math.pi, (-1) ** k * torch.cos(phi_G) - 2 * k, target_G)
    return target_G


def _softmax(others_GC: torch.Tensor, target_G: torch.Tensor, is_target_GC: torch.Tensor, s: float) -> torch.Tensor:
    logits_GC = torch.where(is_target_GC, target_G[:, None], others_GC)
    return F.cross_entropy(s * logits_GC, is_target_GC.to(torch.int64).argmax(1))


_FORMULAS = {
    "combined": _combined,
    "subcenter_arcface": _combined,
    "adaface": _adaface,
    "magface": _magface,
    "curricularface": _curricularface,
    "uniface": _uniface,
}
