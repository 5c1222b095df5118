"""Weights and pictures that any machine draws alike, for networks whose trained weights are not here."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def drawn_state(module: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """A state dict that keeps what passes through in range: by NumPy's PCG64, in the order of the names."""
    rng = np.random.Generator(np.random.PCG64(seed))
    state = {}
    for key, tensor in sorted(module.state_dict().items()):
        if key.endswith("num_batches_tracked"):
            state[key] = tensor
            continue
        values = rng.standard_normal(tuple(tensor.shape), dtype=np.float32)
        if tensor.ndim > 1:
            values *= (2 / tensor[0].numel()) ** 0.5
        elif key.endswith(("running_var", "bn.weight")):
            values = 1 + 0.1 * np.abs(values)
        else:
            values *= 0.1
        state[key] = torch.from_numpy(values)
    return state


def drawn_pixels(side: int, count: int = 2, seed: int = 1) -> Tensor:
    """uint8 (N, 3, S, S)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return torch.from_numpy(rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8))
