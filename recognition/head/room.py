"""Memory that is used over and over."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


class Room:
    """Memory for what blocks and steps need again, so that none asks the allocator, and the kernel, for fresh pages."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._flat = device, {}

    def of(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A contiguous tensor; what was there under this name before is lost."""
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or len(flat) < size or flat.dtype != dtype:
            flat = self._flat[name] = torch.empty(size, dtype=dtype, device=self._device)
        return flat[:size].view(shape)
