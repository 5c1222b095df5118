"""What a person watches while an epoch goes on: a bar on a terminal, lines in the log, numbers in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from generation.epoch_bar import epoch_bar
from generation.posecontrol.batches import PairBatch
from generation.posecontrol.boards import Boards
from generation.posecontrol.config import PoseControlConfig
from generation.posecontrol.state import PoseControlState
from generation.posecontrol.step import Losses, StepOutput
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.training.progress import Throughput, gradient_text, log_skipped


class EpochProgress:
    """Counts the steps of an epoch into `state`, and tells of them every `log_every` steps."""

    def __init__(
        self,
        cfg: PoseControlConfig,
        runtime: Runtime,
        boards: Boards | None,
        state: PoseControlState,
        *,
        num_steps: int,
        lr: float,
    ) -> None:
        self.cfg, self.runtime, self.boards, self.state = cfg, runtime, boards, state
        self.num_steps, self.lr = num_steps, lr
        self.throughput = Throughput()
        self.bar = epoch_bar(runtime, epoch=state.epoch, epochs=cfg.epochs, steps=num_steps, done=state.step_in_epoch)

    def after_step(self, output: StepOutput, batches: Sequence[PairBatch]) -> None:
        """Count a step, and tell of it where that is due."""
        pairs = self.runtime.world * sum(len(batch.source_BHWC) for batch in batches)
        self.state.count(output, pairs)
        self.throughput.add(pairs, sum(batch.wait_s for batch in batches))
        self.bar.update()
        done = self.state.step_in_epoch
        if output.agreed.is_skipped and self.runtime.is_main:
            log_skipped(self.state.epoch * self.num_steps + done, output.agreed)
        if self.boards is not None and (done % self.cfg.log_every == 0 or done == self.num_steps):
            self._tell(output, done)

    def _tell(self, output: StepOutput, done: int) -> None:
        losses, speed = output.losses, self.throughput.read()
        step = self.state.epoch * self.num_steps + done
        numbers = {"Loss": losses.loss, "ImageLoss": losses.image_loss, "PoseLoss": losses.pose_loss}
        if self.cfg.identity_loss_weight:
            numbers["IdentityLoss"] = losses.identity_loss
        self.boards.after_step(step, {**numbers, "LearningRate": self.lr, "PairsPerSecond": speed["images_per_s"]})
        self.bar.set_postfix(loss=f"{losses.loss:.3f}", refresh=False)
        identity = f"  identity {losses.identity_loss:.4f}" if self.cfg.identity_loss_weight else ""
        LOG.info(
            "epoch %d/%d  step %d/%d  loss %.4f  image %.4f  pose %.4f%s  lr %.2e  grad %s  %.1f pairs/s  "
            "data wait %.0f%%",
            *(self.state.epoch + 1, self.cfg.epochs, done, self.num_steps, losses.loss, losses.image_loss),
            *(losses.pose_loss, identity, self.lr, gradient_text(output.grad_norm), speed["images_per_s"]),
            100 * speed["data_wait"],
        )

    def means(self) -> Losses:
        """The means over the pairs of the epoch."""
        return self.state.means()

    def __enter__(self) -> EpochProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
