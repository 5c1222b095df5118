"""The one switch between the caller's autocast and the layers that must stay in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager:
    """Context in which autocast is off on `device`; no context at all where autocast is off already.

    The second half keeps exported graphs free of autocast regions, which ONNX cannot express.
    """
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
