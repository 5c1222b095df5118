"""A whole run, from records to report: read `train` and you have read the system."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from recognition.collectives import gather_text
from recognition.config import TrainConfig
from recognition.data.loader import Batch
from recognition.errors import Stopped
from recognition.log import end_log
from recognition.provenance import provenance
from recognition.runtime import Runtime
from recognition.training.assembly import begin_run, build_step, leave_finished, open_loader, open_training_set
from recognition.training.bad_records import BadRecords
from recognition.training.data_check import check_data
from recognition.training.evaluation import Evaluation, averaged_statistics, open_targets
from recognition.training.finish import finish_run, keep_models
from recognition.training.metrics import MetricsWriter
from recognition.training.plan import Plan, Progressed, plan_steps
from recognition.training.preemption import StopRequest
from recognition.training.progress import Progress
from recognition.training.run_directory import open_run, status_of
from recognition.training.saving import Saving
from recognition.training.schedule import learning_rate
from recognition.training.state import TrainState, restore
from recognition.training.vote import NOTHING


def train(cfg: TrainConfig, runtime: Runtime) -> Path:
    """Train as `cfg` says on all ranks, verify, save and report; returns the run directory.

    Goes on from the run's newest checkpoint where there is one (see `resume` in configs/base.py). Stopped, after a
    checkpoint, when a signal asked any rank to stop.
    """
    source, cfg, remarks = open_training_set(cfg)
    facts = provenance(cfg, source, runtime)
    opened = open_run(cfg, runtime, facts)
    plan, was = plan_steps(cfg, runtime.world, opened.progressed), opened.progressed
    if opened.was_finished and plan.first == plan.last:
        return leave_finished(cfg, runtime)
    looked = check_data(source, cfg, runtime, facts["data_sha256"])
    targets = open_targets(cfg, runtime)
    take_step = build_step(cfg, runtime, plan=plan, remarks=remarks)
    loader = open_loader(source, cfg, runtime, plan)
    if opened.checkpoint is not None:
        restore(take_step, opened.checkpoint)
    run_dir, state = begin_run(cfg, runtime, remarks, opened, plan, facts, looked), TrainState(take_step, cfg)
    with (
        # Around the others: a launcher ends all ranks when one has failed, before this one has said so in its status.
        StopRequest() as stop,
        status_of(run_dir, runtime, first=plan.first, last=plan.last) as status,
        MetricsWriter(run_dir if runtime.is_main else None, cfg, plan=plan) as metrics,
        Saving(run_dir, state, cfg=cfg, runtime=runtime, facts=facts, goes_on_from=opened.step) as saving,
    ):
        evaluate = Evaluation(targets, cfg=cfg, runtime=runtime, metrics=metrics, best=was.best)
        progress = Progress(cfg, runtime, metrics, num_samples=len(source), plan=plan, losses=was.losses)
        bad_records = BadRecords(run_dir, cfg, runtime, metrics, known=was.bad_records)
        scores = {}
        for step, batches in enumerate(grouped(loader, cfg.gradient_acc), plan.first):
            lr = learning_rate(
                step, base=cfg.lr, total_steps=plan.total, warmup_steps=plan.warmup, schedule=cfg.schedule
            )
            output = take_step(batches, step=step, lr=lr, stop=stop.is_set, save=saving.is_late)
            agreed = take_step.agreed(step) if take_step.reads_at_once or progress.is_due(step) else NOTHING
            progress.after_step(step, lr, output, batches, agreed, take_step.computing)
            done, is_best = step + 1, False
            if done % cfg.verbose == 0 or done == plan.last:
                with averaged_statistics(take_step.model, runtime), progress.paused():
                    scores, is_best = evaluate(take_step.model, done)
                    if runtime.is_main:
                        keep_models(run_dir, take_step.model, cfg, done, scores, is_best=is_best)
                    runtime.wait_for_all("the stored model")
            taken, is_last = was.step + done - plan.first, done == plan.last
            saves = saving.is_due(taken, agreed, is_best=is_best, is_last=is_last)
            bad_records.after_step(done, batches, meet=saves or progress.is_due(step))
            losses = tuple(progress.spikes.losses)
            now = Progressed(taken, plan.samples_after(done), evaluate.best, losses, bad_records.listed)
            is_stored = saving.after_step(now, agreed, is_best=is_best, is_last=is_last)
            status.at(done, is_stored=is_stored)
            if agreed.stop and done < plan.last:
                stop_here(runtime, stop, saving, done, plan)
        progress.close()
        with averaged_statistics(take_step.model, runtime):
            scores = scores or evaluate(take_step.model, plan.last)[0]
            if runtime.is_main:
                finish_run(
                    run_dir,
                    take_step.model,
                    cfg,
                    steps=plan.last,
                    scores=scores,
                    targets=targets,
                    data_facts=looked.facts,
                    bad_records=bad_records.listed,
                )
        runtime.wait_for_all("the report")
    end_log()
    return run_dir


def stop_here(runtime: Runtime, stop: StopRequest, saving: Saving, done: int, plan: Plan) -> NoReturn:
    """Stopped, on all ranks, with what a user and a launcher want to know."""
    signals = sorted({name for name in gather_text(stop.name or "", runtime) if name})
    stored = f"the checkpoint of step {saving.saved_step}" if saving.saved_step >= 0 else "an earlier checkpoint"
    raise Stopped(
        f"{', '.join(signals)} at step {done} of {plan.last}; the same command goes on from {stored}", signals
    )


def grouped(loader: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Batches in groups of `size`, one group per optimizer step."""
    batches = iter(loader)
    while group := list(itertools.islice(batches, size)):
        yield group
