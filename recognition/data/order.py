"""Which sample is seen when: a pure function of (seed, position); nothing is stored, or tied to threads and ranks.

A run is one endless stream of positions. Epoch e is positions [e*N, (e+1)*N), a keyed permutation of the N samples.
Step t of W ranks takes the G = B*W positions from t*G on. So batches are always full and straddle epoch ends, each
sample comes exactly once an epoch, and the global batch of a step does not depend on how many ranks share it.
"""

from __future__ import annotations

import numpy as np

from recognition.permutation import permutation_keys, permute


def sample_ids(positions: np.ndarray, *, num_samples: int, seed: int) -> np.ndarray:
    """Sample ids (int64[n] in [0, num_samples)) at stream positions (int64[n], >= 0)."""
    epochs, places = np.divmod(positions, num_samples)
    ids = np.empty_like(places)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        ids[here] = permute(places[here], num_samples, permutation_keys(seed, epoch))
    return ids


def batch_positions(step: int, *, batch_size: int, rank: int = 0, world: int = 1, start: int = 0) -> np.ndarray:
    """Stream positions (int64[B]) of the batch that `rank` of `world` takes at `step`; `batch_size` is B, per rank.

    `start` is the position at which step 0 begins: not 0 for a run that goes on where another stopped.
    """
    first = start + (step * world + rank) * batch_size
    return np.arange(first, first + batch_size, dtype=np.int64)
