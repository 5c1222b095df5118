"""What the identity loss costs a step: the same step with and without it, in turns, the fastest of each."""

from __future__ import annotations

import time
from dataclasses import replace

from generation.lora.assembly import assemble
from generation.lora.config import LoraConfig
from generation.lora.loop import plan_steps
from generation.lora.step import LoraStep
from recognition.runtime import Runtime
from recognition.training.plan import Progressed

WARM_UP, REPEATS = 2, 12


def step_times_ms(cfg: LoraConfig, runtime: Runtime) -> dict[str, float]:
    """Milliseconds of a step without and with the face loss, on the run's own samples; the adapter is thrown away."""
    parts = assemble(replace(cfg, max_steps=WARM_UP + REPEATS, warmup_steps=0), runtime)
    batches = parts.batches(plan_steps(parts.cfg, runtime.world, Progressed(0, 0)))
    sides = {
        "without": LoraStep(parts.models, parts.cfg, runtime),
        "with": LoraStep(parts.models, parts.cfg, runtime, face_loss=parts.face_loss),
    }
    times_ms: dict[str, list[float]] = {name: [] for name in sides}
    for step, micro_steps in enumerate(batches):
        for name, take_step in sides.items():
            started = time.perf_counter()
            take_step(micro_steps, step=step, lr=cfg.lr)
            if step >= WARM_UP:
                times_ms[name].append(1e3 * (time.perf_counter() - started))
    return {name: min(times) for name, times in times_ms.items()}
