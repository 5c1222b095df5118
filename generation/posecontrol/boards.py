"""What people watch: TensorBoard under the tags they know, and the curves as pictures.

The tags of an epoch lie in the log folder itself; those of steps, and texts, in its folder `steps`, which TensorBoard
shows as a second run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from generation.pictures import img11_of, pixels_of
from generation.posecontrol.batches import PairBatches
from generation.posecontrol.step import PoseControlStep
from recognition.atomic import replacing
from recognition.chart import STYLE, line_style
from recognition.grid import grid
from recognition.spread import spread
from recognition.training.board import Board

EPOCH_TAGS = {
    "Epoch/TrainLoss": ("train", "loss"),
    "Epoch/TrainImageLoss": ("train", "image_loss"),
    "Epoch/TrainPoseLoss": ("train", "pose_loss"),
    "Epoch/ValLoss": ("val", "loss"),
    "Epoch/ValImageLoss": ("val", "image_loss"),
    "Epoch/ValPSNR": ("val", "psnr_db"),
}
SHOWN_EVERY, SAMPLES = 10, 4  # epochs; pairs
STEPS = "steps"
MAX_ANGLES = 100_000  # that a histogram is made of
_CURVES = (
    ("total loss", (("train", "loss"), ("val", "loss"))),
    ("image loss", (("train", "image_loss"), ("val", "image_loss"))),
    ("pose loss", (("train", "pose_loss"), ("val", "pose_loss"))),
    ("PSNR in dB", (("val", "psnr_db"), ("val", "copy_psnr_db"))),
)
_NAMES = {"copy_psnr_db": "copy of the source"}


class Boards:
    """Shows a run in TensorBoard; made on the main rank alone."""

    def __init__(self, log_dir: Path, *, epoch: int, steps: int) -> None:
        self.epochs = Board(log_dir, purge_step=epoch + 1)
        self.steps = Board(log_dir / STEPS, purge_step=steps + 1)

    def tell(self, name: str, text: str) -> None:
        """A text of the run."""
        self.steps.draw(lambda writer: writer.add_text(name, text))

    def after_step(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of one step."""
        self.steps.draw(lambda writer: [writer.add_scalar(f"Train/{k}", v, step) for k, v in numbers.items()])

    def after_epoch(self, done: int, history: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
        """The last rows of the history, after `done` epochs."""
        numbers = {tag: history[part][-1][key] for tag, (part, key) in EPOCH_TAGS.items()}
        self.epochs.draw(lambda writer: [writer.add_scalar(tag, value, done) for tag, value in numbers.items()])

    def show(self, done: int, rows: Sequence[Sequence[np.ndarray]], batches: PairBatches) -> None:
        """Rows of source, target and output, and how the angles of the pairs that are trained on are spread."""
        angles = _angles(batches)

        def draw(writer: Any) -> None:
            writer.add_image("Images/Comparison", grid(rows), done, dataformats="HWC")
            for place, row in enumerate(rows):
                writer.add_image(f"Images/Sample_{place}", grid([row]), done, dataformats="HWC")
            for name, values in angles.items():
                writer.add_histogram(f"Pose/{name}", values, done)

        self.epochs.draw(draw)

    def close(self) -> None:
        """Write what is left."""
        self.epochs.close()
        self.steps.close()


def is_shown(done: int, last: int) -> bool:
    """Whether pictures are shown after so many epochs: the first, every tenth, the last."""
    return done in (1, last) or done % SHOWN_EVERY == 0


@torch.no_grad()
def pictures_of(take_step: PoseControlStep, batches: PairBatches) -> list[list[np.ndarray]]:
    """Rows of source, target and output, uint8 (S, S, 3), of SAMPLES pairs at most."""
    take_step.model.eval()
    rows = []
    for batch in batches.in_order(spread(len(batches.pairs.front_P), SAMPLES)):
        made, target_BCHW = take_step.generated(batch)
        source_BCHW = img11_of(batch.source_BHWC, target_BCHW.device)
        columns = [pixels_of((each + 1) / 2).cpu().numpy() for each in (source_BCHW, target_BCHW, made.image_BCHW)]
        rows += [list(row) for row in zip(*columns)]
    return rows


def save_curves(path: Path, history: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """The losses and PSNR of all epochs as four charts in one PNG, whole or not at all."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.8), layout="constrained")
        for axes, (title, lines) in zip(figure.subplots(2, 2).flat, _CURVES):
            for place, (part, key) in enumerate(lines):
                rows = history[part]
                label = _NAMES.get(key, part)
                marker = "." if len(rows) < 30 else None
                axes.plot(
                    [row["epoch"] for row in rows],
                    [row[key] for row in rows],
                    label=label,
                    marker=marker,
                    **line_style(place),
                )
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.legend()
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=110)


def _angles(batches: PairBatches) -> dict[str, np.ndarray]:
    pairs = batches.pairs
    some = spread(len(pairs.front_P), MAX_ANGLES)
    source_N3 = batches.pose_set.front.pose_N3[pairs.front_P[some]]
    target_N3 = batches.pose_set.video.pose_N3[pairs.video_P[some]]
    return {"Target": target_N3.ravel(), "Source": source_N3.ravel(), "Difference": (target_N3 - source_N3).ravel()}
