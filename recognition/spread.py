"""A few of many, evenly spread."""

from __future__ import annotations

import numpy as np


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the indices [0, count), int64, ascending and evenly spread, the first and the last among them.

    None of none; 1 of many is the first.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
