"""What people watch: losses and samples in TensorBoard, samples as pictures, the losses' curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from generation.stargan.step import D_LOSSES, G_LOSSES
from recognition.atomic import replacing
from recognition.chart import STYLE, line_style
from recognition.grid import grid
from recognition.training.board import Board

# As the field's reports call them: D/loss_gp, G/loss_rec.
TAGS = {name: f"{name[0].upper()}/{name[2:]}" for name in (*D_LOSSES, *G_LOSSES)}
SAMPLES = "Images/Edits"
SIDE_PX = 96  # of a picture in a sheet, at least


class Boards:
    """Shows a run in TensorBoard; made on the main rank alone."""

    def __init__(self, log_dir: Path, *, steps: int) -> None:
        self.board = Board(log_dir, purge_step=steps + 1)

    def tell(self, name: str, text: str) -> None:
        """A text of the run."""
        self.board.draw(lambda writer: writer.add_text(name, text))

    def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers after so many steps, by their tags."""
        self.board.draw(lambda writer: [writer.add_scalar(tag, value, step) for tag, value in numbers.items()])

    def samples(self, step: int, sheet_HWC: np.ndarray) -> None:
        """A sheet of samples after so many steps."""
        self.board.draw(lambda writer: writer.add_image(SAMPLES, sheet_HWC, step, dataformats="HWC"))

    def close(self) -> None:
        """Write what is left."""
        self.board.close()


def sheet_of(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Rows of pictures as one, uint8 (H, W, 3), small ones enlarged by whole numbers."""
    factor = -(-SIDE_PX // rows[0][0].shape[0])
    return grid([[each.repeat(factor, 0).repeat(factor, 1) for each in row] for row in rows])


def save_sheet(path: Path, sheet_HWC: np.ndarray) -> None:
    """Write a sheet as PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Image.fromarray(sheet_HWC).save(partial, format="png")


def save_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """The losses of both networks over the epochs in one PNG, whole or not at all."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4), layout="constrained")
        for axes, names, title in zip(figure.subplots(1, 2), (D_LOSSES, G_LOSSES), ("discriminator", "generator")):
            for place, name in enumerate(name for name in names if any(row.get(name) for row in history)):
                rows = [row for row in history if row.get(name) is not None]
                marker = "." if len(rows) < 30 else None
                epochs, values = [row["epoch"] for row in rows], [row[name] for row in rows]
                axes.plot(epochs, values, label=name, marker=marker, **line_style(place))
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend()
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=110)
