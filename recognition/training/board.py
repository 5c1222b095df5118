"""TensorBoard as a run uses it: what cannot be shown ends no run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from recognition.log import LOG


class Board:
    """A folder of TensorBoard's; when its disk is full it is given up, and the run goes on without.

    `purge_step`: what a run that was killed had shown from this step on is shown once more.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder), purge_step=purge_step)

    def draw(self, draw: Callable[[Any], object]) -> None:
        """Let `draw` add to the SummaryWriter."""
        if self.writer is None:
            return
        try:
            draw(self.writer)
        except OSError as error:
            # Its writer has given up for good.
            LOG.warning("TensorBoard cannot write (%s); the run goes on without it", error.strerror or error)
            self.writer = None

    def close(self) -> None:
        """Write what is left; what a full disk took is gone."""
        if self.writer is not None:
            with suppress(OSError):
                self.writer.close()
