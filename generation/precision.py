"""Which number format a run computes in."""

from __future__ import annotations

import torch

AUTO = "auto"
AMP_DTYPES = (AUTO, "bf16", "fp16")


def amp_precision(amp_dtype: str, device: torch.device, *, use_amp: bool) -> str:
    """fp32, or with `use_amp` what `amp_dtype` says: by itself bf16 where the device computes with it, else fp16."""
    if not use_amp:
        return "fp32"
    if amp_dtype != AUTO:
        return amp_dtype
    return "bf16" if device.type == "cpu" or torch.cuda.is_bf16_supported() else "fp16"
