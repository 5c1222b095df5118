"""What a LoRA run leaves behind: the adapter with a card, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generation.lora.adapter import FILE, FOLDER, save_adapter
from generation.lora.config import LoraConfig
from generation.lora.models import Models
from generation.lora.report import write_report
from generation.lora.samples import Samples
from recognition.atomic import write_text
from recognition.errors import InputError
from recognition.log import LOG


def adapter_facts(models: Models, cfg: LoraConfig, step: int) -> dict[str, Any]:
    """What someone who finds the adapter needs to know, JSON."""
    return {
        "family": models.family.name,
        "base": cfg.transformer,
        "vae": cfg.vae,
        "rank": cfg.rank,
        "alpha": cfg.lora_alpha,
        "target_modules": list(cfg.target_modules),
        "step": step,
        "image_size": cfg.image_size,
        "face_loss_weight": cfg.face_loss_weight if cfg.use_face_loss else 0.0,
        "face_align_mode": cfg.face_align_mode if cfg.use_face_loss else None,
    }


def keep_adapter(run_dir: Path, models: Models, cfg: LoraConfig, step: int) -> None:
    """Store the adapter as it is; a disk without room ends the run only where a checkpoint without room would."""
    try:
        _write_adapter(run_dir, models, adapter_facts(models, cfg, step))
    except (InputError, OSError) as error:
        if cfg.checkpoint_error == "stop":
            raise
        LOG.warning("adapter of step %d not written: %s; training goes on", step, error)


def finish_run(run_dir: Path, models: Models, cfg: LoraConfig, samples: Samples, *, steps: int) -> None:
    """Write the adapter and the report (main rank only); InputError or OSError where there is no room for them."""
    # There is no later one to hope for: who is told of a finished run must have its adapter.
    _write_adapter(run_dir, models, adapter_facts(models, cfg, steps))
    LOG.info("adapter: %s", run_dir / FOLDER / FILE)
    facts = {
        **adapter_facts(models, cfg, steps),
        "samples": len(samples),
        **({"samples with a face": samples.num_faces} if samples.num_faces else {}),
        "lines left out": len(samples.left_out),
    }
    LOG.info("report: %s", write_report(run_dir, cfg, facts))


def _write_adapter(run_dir: Path, models: Models, facts: dict[str, Any]) -> None:
    save_adapter(run_dir / FOLDER, models.transformer, facts)
    write_text(run_dir / FOLDER / "README.md", _card(models, facts))


def _pipeline(base: str) -> str:
    """What a pipeline is read from: the base where it is one, and not its transformer alone."""
    return base if (Path(base).expanduser() / "model_index.json").is_file() else "FOLDER OF THE PIPELINE"


def _card(models: Models, facts: dict[str, Any]) -> str:
    """A model card: what it is, and how it is loaded."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return f"""---
library_name: diffusers
tags: [lora, {facts["family"]}]
---
# LoRA adapter

A low-rank adapter of `{models.family.kind}`, trained by flow matching. The licences of the base model, and of the
recogniser that the identity loss used, hold for what is made with it.

```python
from diffusers import {models.family.pipeline}

pipeline = {models.family.pipeline}.from_pretrained("{_pipeline(facts["base"])}")
pipeline.load_lora_weights("FOLDER OF THIS FILE")
```

| Fact | Value |
|---|---|
{rows}
"""
