"""What a person watches while a run goes on: a bar on a terminal, a line in the log, a row of metrics."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tqdm import tqdm

from recognition.config import TrainConfig
from recognition.data.loader import Batch
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.training.metrics import MetricsWriter
from recognition.training.plan import Plan
from recognition.training.spikes import SpikeLog, stream_ids
from recognition.training.step import StepOutput
from recognition.training.stopwatch import Stopwatch
from recognition.training.stragglers import Spread, StragglerReport
from recognition.training.vote import Agreed

# Fewer steps say little of which rank is slow. Not ten: a run's very first step does not count.
WINDOW_STEPS = 9


@dataclass
class Throughput:
    """Images per second and the share of time spent waiting for data, since the last reading."""

    images: int = 0
    wait_s: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def add(self, images: int, wait_s: float) -> None:
        """Count one step's images (all ranks together) and this rank's wait for them."""
        self.images += images
        self.wait_s += wait_s

    def read(self) -> dict[str, float]:
        """images_per_s and data_wait (0 to 1) since the last reading; the window starts anew."""
        elapsed_s = max(time.perf_counter() - self.started, 1e-9)
        values = {"images_per_s": self.images / elapsed_s, "data_wait": min(1.0, self.wait_s / elapsed_s)}
        self.restart()
        return values

    def restart(self) -> None:
        """Begin a new window."""
        self.images, self.wait_s, self.started = 0, 0.0, time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep what happens inside (verification, checkpoints) out of images/s and so out of the time left."""
        paused = time.perf_counter()
        yield
        self.started += time.perf_counter() - paused


class Progress:
    """The bar on a terminal and, every `frequent` steps, one row of metrics; reads the device only then."""

    def __init__(
        self,
        cfg: TrainConfig,
        runtime: Runtime,
        metrics: MetricsWriter,
        *,
        num_samples: int,
        plan: Plan,
        losses: Iterable[float] = (),
    ) -> None:
        self.cfg, self.metrics, self.num_samples, self.plan = cfg, metrics, num_samples, plan
        self.runtime, self.is_main = runtime, runtime.is_main
        # Elsewhere reading a loss waits for the device.
        self.reads_at_once = runtime.device.type == "cpu"
        self.spikes, self.stragglers = SpikeLog(cfg.spike_factor, losses=losses), StragglerReport()
        self.throughput = Throughput()
        self.bar = step_bar(runtime, plan)

    def is_due(self, step: int) -> bool:
        """See `is_logged`."""
        return is_logged(step + 1, self.cfg.frequent, self.plan)

    def after_step(
        self, step: int, lr: float, output: StepOutput, batches: list[Batch], agreed: Agreed, computing: Stopwatch
    ) -> None:
        """Count the step, look at its loss where that is free, and log it where it is due; collective where it is."""
        done, wait_s = step + 1, sum(batch.wait_s for batch in batches)
        self.throughput.add(self.plan.samples_a_step, wait_s)
        self.bar.update()
        is_due = self.is_due(step)
        if self.reads_at_once or is_due:
            self._note_loss(step, output.loss.item(), agreed)
        compute_s = computing.read_s() if self.reads_at_once or is_due else 0.0
        if step > self.plan.first:  # the first finds caches and buffers empty
            self.stragglers.note(wait_s, compute_s)
        if is_due:
            is_window = self.runtime.world > 1 and self.stragglers.steps >= WINDOW_STEPS
            spread = self.stragglers.read(self.runtime) if is_window else None
            if self.is_main:
                self._log(done, lr, output, spread)
        self.runtime.at("loading data", done)

    def _note_loss(self, step: int, loss: float, agreed: Agreed) -> None:
        first = self.plan.samples_after(step)
        ids = partial(stream_ids, first, self.plan.samples_a_step, num_samples=self.num_samples, seed=self.cfg.seed)
        spike = self.spikes.note(step + 1, loss, ids)
        if not self.is_main:
            return
        if agreed.is_skipped:
            tell_skipped(self.metrics, step + 1, loss, agreed)
        if spike is not None:
            self.metrics.write("spike", spike.step, **spike.row)
            LOG.warning("%s", spike)

    def _log(self, done: int, lr: float, output: StepOutput, spread: Spread | None) -> None:
        speed = self.throughput.read()
        eta_s = self.plan.samples_left(done) / speed["images_per_s"]
        row = {
            "epoch": self.plan.samples_after(done - 1) // self.num_samples,
            "loss": output.loss.item(),
            "lr": lr,
            **speed,
            "grad_norm": output.grad_norm.item(),
            "target_cos": output.target_cos.item(),
            "eta_s": eta_s,
            **({} if spread is None else spread.row),
        }
        self.metrics.write("train", done, **row)
        self.bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
        LOG.info(
            "step %d/%d  epoch %d  loss %.4f  lr %.5f  cos %.3f  grad %s  %.1f images/s  data wait %.0f%%  left %s",
            *(done, self.plan.last, row["epoch"], row["loss"], lr, row["target_cos"], gradient_text(row["grad_norm"])),
            *(row["images_per_s"], 100 * row["data_wait"], duration(eta_s)),
        )
        for line in () if spread is None else spread.lines:
            LOG.warning("%s", line)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """See `Throughput.paused`."""
        with self.throughput.paused():
            yield

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def step_bar(runtime: Runtime, plan: Plan) -> tqdm:
    """The bar of a run's steps, on the main rank's terminal."""
    hidden = not (runtime.is_main and sys.stderr.isatty())
    return tqdm(total=plan.last, initial=plan.first, unit="step", disable=hidden, dynamic_ncols=True)


def is_logged(done: int, frequent: int, plan: Plan) -> bool:
    """Whether a line is due after so many steps: a multiple of `frequent`, the run's first and its last.

    Not the first after a resume: a run that was interrupted logs what one that was not would have.
    """
    return done % frequent == 0 or done in (1, plan.last)


def tell_skipped(metrics: MetricsWriter, done: int, loss: float, agreed: Agreed) -> None:
    """Note a step that changed nothing, and why."""
    metrics.write("skipped", done, loss=loss)
    log_skipped(done, agreed)


def log_skipped(done: int, agreed: Agreed) -> None:
    """Say that a step changed nothing, and why; fp16's search for its scale is nothing to be warned of."""
    if agreed.is_bad:
        LOG.warning("step %d was not finite on some rank: it changed nothing, on any rank", done)
    else:
        LOG.info("step %d overflowed in fp16: it changed nothing, and the scale of the loss is halved", done)


def gradient_text(norm: float) -> str:
    """The norm of the gradient; fp16 skips steps whose gradient overflows, as the first ones usually do."""
    return f"{norm:.2f}" if math.isfinite(norm) else "overflowed (step skipped)"


def duration(seconds: float) -> str:
    """Seconds as people read them: 45s, 12m05s, 3h20m, 2d04h."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
