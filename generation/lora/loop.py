"""A whole LoRA run, from a list of samples to an adapter and a report: read `train` and you have read the system."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from generation.detection import open_finder
from generation.identity.comparison import FaceComparison
from generation.identity.evaluation import ArcFaceLoss
from generation.identity.gate import Skips
from generation.identity.wrappers import DifferentiableFaceLossWrapper
from generation.lora.assembly import assemble
from generation.lora.config import DOCUMENTED, FREE, NOT_HASHED, LoraConfig, base_values
from generation.lora.finish import finish_run, keep_adapter
from generation.lora.models import Models
from generation.lora.progress import LoraProgress
from generation.lora.samples import Samples
from generation.lora.state import LoraState, samples_a_step
from generation.lora.step import LoraStep
from generation.lora.watch import Watch
from recognition.config import describe_config
from recognition.errors import InputError
from recognition.log import LOG, end_log
from recognition.provenance import config_sha256, start_facts
from recognition.runtime import Runtime
from recognition.training.assembly import enter_run, leave_finished
from recognition.training.loop import stop_here
from recognition.training.metrics import MetricsWriter
from recognition.training.plan import Plan, Progressed
from recognition.training.preemption import StopRequest
from recognition.training.run_directory import Opened, open_run, status_of
from recognition.training.saving import Saving
from recognition.training.schedule import learning_rate

TOLD = 10  # bad lines that the log names


def train(cfg: LoraConfig, runtime: Runtime) -> Path:
    """Train an adapter as `cfg` says on all ranks, watch, save and report; returns the run directory.

    Goes on from the run's newest checkpoint where there is one (see `resume` in configs/lora_base.py). Stopped, after a
    checkpoint, when a signal asked any rank to stop.
    """
    parts = assemble(cfg, runtime)
    models, samples, references = parts.models, parts.samples, parts.references
    facts = start_facts(runtime, config=config_sha256(cfg, NOT_HASHED), data=samples.sha256)
    opened = open_run(cfg, runtime, facts, free=FREE, data_key="data")
    plan = plan_steps(cfg, runtime.world, opened.progressed)
    if opened.was_finished and plan.first == plan.last:
        return leave_finished(cfg, runtime)
    batches = parts.batches(plan)
    take_step = LoraStep(models, cfg, runtime, face_loss=parts.face_loss if cfg.use_face_loss else None)
    watch = Watch(take_step, batches, cfg, runtime, **_recognisers(cfg, parts.face_loss, runtime))
    weights = {"vae": models.vae_sha256}
    if references is not None and cfg.use_face_loss:
        weights["arcface_weights"] = references.recogniser_sha256
        weights["detector"] = references.finder_sha256(sample.row for sample in samples.samples if sample.has_face)
    state = LoraState(take_step, watch, cfg, weights)
    if opened.checkpoint is not None:
        state.restore(opened.checkpoint)
    run_dir = begin_run(cfg, runtime, opened, plan, facts, samples, models)
    with (
        # Around the others: a launcher ends all ranks when one has failed, before this one has said so in its status.
        StopRequest() as stop,
        status_of(run_dir, runtime, first=plan.first, last=plan.last) as status,
        MetricsWriter(run_dir if runtime.is_main else None, cfg, plan=plan) as metrics,
        Saving(run_dir, state, cfg=cfg, runtime=runtime, facts=facts, goes_on_from=opened.step) as saving,
    ):
        progress = LoraProgress(cfg, runtime, metrics, plan, state.since)
        if plan.first == 0:
            watch.after_step(0, plan.last, metrics, run_dir)
        progress.throughput.restart()
        for step, micro_steps in enumerate(batches, plan.first):
            lr = learning_rate(
                step, base=cfg.lr, total_steps=plan.total, warmup_steps=plan.warmup, schedule=cfg.schedule
            )
            output = take_step(micro_steps, step=step, lr=lr, stop=stop.is_set, save=saving.is_late)
            take_step.require_good(step)
            done = step + 1
            progress.after_step(done, lr, output, micro_steps)
            with progress.paused():
                watch.after_step(done, plan.last, metrics, run_dir)
                now = Progressed(done, plan.samples_after(done))
                is_stored = saving.after_step(now, output.agreed, is_best=False, is_last=done == plan.last)
                if is_stored and runtime.is_main:
                    keep_adapter(run_dir, models, cfg, done)
                status.at(done, is_stored=is_stored)
            if output.agreed.stop and done < plan.last:
                stop_here(runtime, stop, saving, done, plan)
        progress.close()
        if runtime.is_main:
            finish_run(run_dir, models, cfg, samples, steps=plan.last)
        runtime.wait_for_all("the report")
    end_log()
    return run_dir


def plan_steps(cfg: LoraConfig, world: int, progressed: Progressed) -> Plan:
    """The steps still to take: `max_steps` counts steps, whatever a step's batch is; none where there were more."""
    return Plan(
        first=progressed.step,
        last=max(progressed.step, cfg.max_steps),
        total=cfg.max_steps,
        warmup=cfg.warmup_steps,
        samples=progressed.samples,
        samples_a_step=cfg.batch_size * world * cfg.gradient_acc,
    )


def begin_run(
    cfg: LoraConfig,
    runtime: Runtime,
    opened: Opened,
    plan: Plan,
    facts: dict[str, Any],
    samples: Samples,
    models: Models,
) -> Path:
    """Create the run directory, or go on in it, with its log on the main rank; every rank gets the path.

    GivingUp when restarts do not bring the run any further.
    """

    def tell(of_folder: list[str]) -> None:
        LOG.info("%s", describe_config(cfg, base_values(), DOCUMENTED))
        resumed = [] if opened.checkpoint is None else resumed_remarks(opened, plan)
        for remark in (*of_folder, *resumed):
            LOG.info("note: %s", remark)
        trained = sum(p.numel() for p in models.transformer.parameters() if p.requires_grad)
        whole = sum(p.numel() for p in models.transformer.parameters())
        faces = f", {samples.num_faces} with a face" if samples.num_faces else ""
        LOG.info("data: %d samples%s, %d lines left out", len(samples), faces, len(samples.left_out))
        for problem in samples.left_out[:TOLD]:
            LOG.warning("left out: %s", problem)
        if len(samples.left_out) > TOLD:
            LOG.warning("left out: %d more lines", len(samples.left_out) - TOLD)
        LOG.info("adapter: %s trainable of %s parameters (%s)", f"{trained:,}", f"{whole:,}", models.family.name)
        LOG.info(
            "%d rank(s) on %s, %s, %d sample(s) a step; run directory %s",
            *(runtime.world, runtime.device.type, cfg.precision, plan.samples_a_step, cfg.output_dir),
        )

    return enter_run(cfg, runtime, opened, facts, tell=tell)


def resumed_remarks(opened: Opened, plan: Plan) -> list[str]:
    """Where the run goes on, and what is not as it was."""
    remarks = [f"going on from {opened.checkpoint.path}: step {plan.first} of {plan.last}"]
    if (before := samples_a_step(opened.document)) != plan.samples_a_step:
        remarks.append(f"a step has {plan.samples_a_step} sample(s) now, and had {before}")
    return remarks


def _recognisers(
    cfg: LoraConfig, face_loss: DifferentiableFaceLossWrapper | None, runtime: Runtime
) -> dict[str, FaceComparison | None]:
    """What judges generated pictures: with counts of their own, and the references that are known already.

    InputError for a second recogniser that is the first.
    """
    trained_by = face_loss and face_loss.face_loss.comparison
    held_out, trainer = None, face_loss and face_loss.face_loss.backbone
    if cfg.held_out_recogniser is not None and cfg.monitor_every > 0 and runtime.is_main:
        judge = ArcFaceLoss(
            cfg.held_out_recogniser,
            cfg.root,
            finder=trained_by.finder if trained_by else open_finder(cfg.detector, cfg.root),
            align_mode=cfg.face_align_mode,
            gen_face_source=cfg.gen_face_source,
            device=runtime.device,
        )
        if trainer and trainer.facts.get("sha256") == judge.embedder.facts.get("sha256", ""):
            raise InputError(
                f"held_out_recogniser={cfg.held_out_recogniser} has the weights of arcface_weights: no gap could ever "
                "show; name a recogniser that was trained apart from it"
            )
        held_out = judge.comparison
    return {"trained_by": trained_by and replace(trained_by, skips=Skips()), "held_out": held_out}
