"""What a person watches while an epoch goes on: a bar on a terminal, lines in the log, numbers in TensorBoard."""

from __future__ import annotations

from types import TracebackType

from generation.epoch_bar import epoch_bar
from generation.stargan.batches import AttributeBatch
from generation.stargan.boards import TAGS, Boards
from generation.stargan.config import StarGANConfig
from generation.stargan.state import StarGANState
from generation.stargan.step import StepOutput, Update, skipped
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.training.progress import Throughput, gradient_text, log_skipped


class EpochProgress:
    """Counts the steps of an epoch into `state`, and tells of them every `log_every` steps."""

    def __init__(
        self, cfg: StarGANConfig, runtime: Runtime, boards: Boards | None, state: StarGANState, *, num_steps: int
    ) -> None:
        self.cfg, self.runtime, self.boards, self.state, self.num_steps = cfg, runtime, boards, state, num_steps
        self.throughput = Throughput()
        self.last_g: Update | None = None
        self.bar = epoch_bar(
            runtime, epoch=state.epoch, epochs=cfg.num_epochs, steps=num_steps, done=state.step_in_epoch
        )

    def after_step(self, output: StepOutput, batch: AttributeBatch, *, lr_factor: float) -> None:
        """Count a step, and tell of it where that is due."""
        pictures = self.runtime.world * len(batch.images_BHWC)
        self.state.count(output)
        self.throughput.add(pictures, batch.wait_s)
        self.bar.update()
        self.last_g = output.generator or self.last_g
        done = self.state.step_in_epoch
        agreed = skipped(output)
        if agreed.is_skipped and self.runtime.is_main:
            log_skipped(self.state.epoch * self.num_steps + done, agreed)
        if self.boards is not None and (done % self.cfg.log_every == 0 or done == self.num_steps):
            self._tell(output.discriminator, done, lr_factor)

    def _tell(self, of_d: Update, done: int, lr_factor: float) -> None:
        speed = self.throughput.read()
        of_g = {} if self.last_g is None else self.last_g.losses
        numbers = {TAGS[name]: value for name, value in {**of_d.losses, **of_g}.items()}
        rates = {"LearningRate/g": self.cfg.g_lr * lr_factor, "LearningRate/d": self.cfg.d_lr * lr_factor}
        numbers |= {**rates, "ImagesPerSecond": speed["images_per_s"]}
        self.boards.numbers(self.state.epoch * self.num_steps + done, numbers)
        d, parts = of_d.losses, [f"{name[7:]} {of_g[name]:.3f}" for name in of_g if name != "g_loss" and of_g[name]]
        generator = f"  G {of_g['g_loss']:.3f} ({', '.join(parts)})" if of_g else ""
        LOG.info(
            "epoch %d/%d  step %d/%d  D %.3f (real %.3f, fake %.3f, cls %.3f, gp %.3f)%s  grad %s  %.1f images/s  "
            "data wait %.0f%%",
            *(self.state.epoch + 1, self.cfg.num_epochs, done, self.num_steps),
            *(d[name] for name in ("d_loss", "d_loss_real", "d_loss_fake", "d_loss_cls", "d_loss_gp")),
            *(generator, gradient_text(of_d.grad_norm), speed["images_per_s"], 100 * speed["data_wait"]),
        )

    def __enter__(self) -> EpochProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
