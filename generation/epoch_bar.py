"""The bar of an epoch's steps, on the main rank's terminal."""

from __future__ import annotations

import sys

from tqdm import tqdm

from recognition.runtime import Runtime


def epoch_bar(runtime: Runtime, *, epoch: int, epochs: int, steps: int, done: int) -> tqdm:
    """A bar for epoch `epoch`, from 0, of which `done` of `steps` steps are behind; none where nobody watches."""
    return tqdm(
        total=steps,
        initial=done,
        desc=f"epoch {epoch + 1}/{epochs}",
        unit="step",
        leave=False,
        dynamic_ncols=True,
        disable=not (runtime.is_main and sys.stderr.isatty()),
    )
