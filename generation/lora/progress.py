"""What a person watches while a LoRA run goes on: a bar on a terminal, a line in the log, a row of metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from generation.lora.batches import LoraBatch
from generation.lora.config import LoraConfig
from generation.lora.step import StepOutput
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.training.metrics import MetricsWriter
from recognition.training.plan import Plan
from recognition.training.progress import Throughput, duration, gradient_text, is_logged, step_bar, tell_skipped


class LoraProgress:
    """The bar and, every `frequent` steps, one row of metrics and a line: means over the steps since the last."""

    def __init__(
        self, cfg: LoraConfig, runtime: Runtime, metrics: MetricsWriter, plan: Plan, since: list[StepOutput]
    ) -> None:
        self.cfg, self.runtime, self.metrics, self.plan = cfg, runtime, metrics, plan
        # On all ranks, and in the checkpoints: a run that goes on logs the means that one without a break would have.
        self.throughput, self.since = Throughput(), since
        self.bar = step_bar(runtime, plan)

    def after_step(self, done: int, lr: float, output: StepOutput, batches: Sequence[LoraBatch]) -> None:
        """Count a step, and log it where it is due."""
        self.throughput.add(self.plan.samples_a_step, sum(batch.wait_s for batch in batches))
        self.bar.update()
        if not output.agreed.is_skipped:
            self.since.append(output)
        elif self.runtime.is_main:
            tell_skipped(self.metrics, done, output.loss, output.agreed)
        if is_logged(done, self.cfg.frequent, self.plan) and self.since:
            if self.runtime.is_main:
                self._log(done, lr)
            self.since.clear()

    def _log(self, done: int, lr: float) -> None:
        speed = self.throughput.read()
        eta_s = self.plan.samples_left(done) / speed["images_per_s"]
        row = {
            "loss": _mean(output.loss for output in self.since),
            "flow_loss": _mean(output.flow_loss for output in self.since),
            "face_loss": _mean(output.face_loss for output in self.since),
            "face_cos": _mean(output.face_cos for output in self.since),
            "lr": lr,
            "grad_norm": self.since[-1].grad_norm,
            **speed,
            "eta_s": eta_s,
        }
        row = {key: value for key, value in row.items() if value is not None}
        asked, found = (sum(getattr(output, key) for output in self.since) for key in ("asked", "faces"))
        if asked:
            row |= {"faces_asked": asked, "faces_found": found}
        self.metrics.write("train", done, **row)
        self.bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
        faces = f"  faces {found}/{asked}" if asked else ""
        if "face_cos" in row:
            faces += f"  cos {row['face_cos']:.3f}"
        LOG.info(
            "step %d/%d  loss %.4f  flow %.4f%s  lr %.2e  grad %s  %.1f images/s  data wait %.0f%%  left %s",
            *(done, self.plan.last, row["loss"], row["flow_loss"], faces, lr, gradient_text(row["grad_norm"])),
            *(row["images_per_s"], 100 * row["data_wait"], duration(eta_s)),
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """See `Throughput.paused`."""
        with self.throughput.paused():
            yield

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
