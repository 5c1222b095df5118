"""The running statistics of a network's BatchNorms against those of pictures that it is given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from recognition.data.pictures import Pictures
from recognition.embedding.finding import Finding
from recognition.embedding.over_ranks import embed_images
from recognition.runtime import Runtime

# A layer is off when its median channel is; other faces than those of the training move it by a tenth or two.
OFF_SHIFT, OFF_RATIO = 1.0, 4.0
FAR_OFF_SHIFT, FAR_OFF_RATIO = 10.0, 100.0
SHARE_OFF = 0.25


def statistics_symptoms(
    model: Callable[[Tensor], Tensor], module: nn.Module | None, images: Pictures, *, runtime: Runtime
) -> list[Finding]:
    """Whether the BatchNorms in `module`, which `model` runs, remember other activations than `images` cause.

    Nothing for a module without BatchNorms that keep statistics, such as one of another format.
    """
    norms = {} if module is None else {name: part for name, part in module.named_modules() if _keeps_statistics(part)}
    if not norms:
        return []
    damaged = [name for name, norm in norms.items() if not _possible(norm)]
    if damaged:
        return [
            Finding(
                "batchnorm_drift",
                f"{len(damaged)} of {len(norms)} BatchNorms have impossible running statistics ({_listed(damaged)}: "
                "not finite, or a variance below zero)",
                "the training diverged or the file is damaged: take an earlier checkpoint",
            )
        ]
    untouched = [name for name, norm in norms.items() if _untouched(norm)]
    if untouched:
        return [
            Finding(
                "batchnorm_drift",
                f"{len(untouched)} of {len(norms)} BatchNorms never saw a picture ({_listed(untouched)}: mean 0, "
                "variance 1, no batches)",
                "the network is untrained, or its running statistics were not saved with its weights",
            )
        ]
    shift_L, ratio_L = _distances(model, norms, images, runtime)
    off_L = (shift_L > OFF_SHIFT) | (ratio_L > OFF_RATIO)
    far_off_L = (shift_L > FAR_OFF_SHIFT) | (ratio_L > FAR_OFF_RATIO)
    if not far_off_L.any() and off_L.mean() < SHARE_OFF:
        return []
    worst = int(np.argmax(np.maximum(shift_L / OFF_SHIFT, ratio_L / OFF_RATIO)))
    return [
        Finding(
            "batchnorm_drift",
            f"{int(off_L.sum())} of {len(norms)} BatchNorms expect other activations than these pictures cause "
            f"({list(norms)[worst]}: means {shift_L[worst]:.1f} deviations off, variances by a factor of "
            f"{ratio_L[worst]:.1f})",
            "pictures are not prepared as in training (see --preprocess), or the running statistics are not those of "
            "these weights (momentum, frozen layers, averaged weights)",
        )
    ]


def _distances(
    model: Callable[[Tensor], Tensor], norms: dict[str, nn.Module], images: Pictures, runtime: Runtime
) -> tuple[np.ndarray, np.ndarray]:
    """For each norm, over its channels, the medians of |mean - running mean| / deviation and of the variances' ratio.

    The ratio is that of the greater to the smaller. All ranks embed, and get the same.
    """
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> Callable:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x_BCN = inputs[0].float().flatten(2) if inputs[0].dim() > 2 else inputs[0].float()[:, :, None]
            seen[name] = torch.cat([x_BCN.mean(2), x_BCN.square().mean(2)], dim=1)

        return hook

    handles = [norm.register_forward_pre_hook(remember(name)) for name, norm in norms.items()]

    def moments(x_BCHW: Tensor) -> Tensor:
        model(x_BCHW)
        return torch.cat([seen[name] for name in norms], dim=1)

    try:
        both_ND = embed_images(moments, images, runtime=runtime, title="BatchNorm's statistics").emb_ND
    finally:
        for handle in handles:
            handle.remove()
    moments_D = both_ND.mean(axis=0, dtype=np.float64) / 2
    shifts, ratios, start = [], [], 0
    for norm in norms.values():
        channels = norm.num_features
        mean_C, square_C = moments_D[start : start + channels], moments_D[start + channels : start + 2 * channels]
        start += 2 * channels
        running_C = norm.running_mean.double().cpu().numpy()
        variance_C = norm.running_var.double().cpu().numpy() + norm.eps
        found_C = np.maximum(square_C - np.square(mean_C), 0) + norm.eps
        shifts.append(np.median(np.abs(mean_C - running_C) / np.sqrt(variance_C)))
        ratios.append(np.exp(np.median(np.abs(np.log(found_C / variance_C)))))
    # NaN (a network that gives nothing finite) is a matter of its own, found elsewhere.
    return np.nan_to_num(np.array(shifts)), np.nan_to_num(np.array(ratios))


def _keeps_statistics(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None


def _possible(norm: nn.Module) -> bool:
    finite = norm.running_mean.isfinite().all() and norm.running_var.isfinite().all()
    return bool(finite and (norm.running_var >= 0).all())


def _untouched(norm: nn.Module) -> bool:
    counted = norm.num_batches_tracked is not None and int(norm.num_batches_tracked) > 0
    return not counted and not norm.running_mean.any() and bool((norm.running_var == 1).all())


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
