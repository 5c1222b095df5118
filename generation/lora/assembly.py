"""What a LoRA run is put together from: models with an adapter, the face loss, and the samples, all encoded."""

from __future__ import annotations

from dataclasses import dataclass

from generation.identity.wrappers import DifferentiableFaceLossWrapper
from generation.lora.adapter import add_adapter
from generation.lora.batches import Batches
from generation.lora.cache import Cache
from generation.lora.config import LoraConfig
from generation.lora.faces import References, face_loss_of
from generation.lora.models import Models, open_models
from generation.lora.prompts import PromptReader
from generation.lora.samples import Samples, prepare_samples
from recognition.runtime import Runtime
from recognition.training.plan import Plan


@dataclass(frozen=True, eq=False)
class Assembled:
    """The parts of a run; `face_loss` and `references` are None where no recogniser looks at anything."""

    cfg: LoraConfig
    runtime: Runtime
    models: Models
    cache: Cache
    prompts: PromptReader
    face_loss: DifferentiableFaceLossWrapper | None
    references: References | None
    samples: Samples

    def batches(self, plan: Plan) -> Batches:
        """What the steps of `plan` see."""
        return Batches(
            self.samples,
            self.cfg,
            plan,
            self.runtime,
            cache=self.cache,
            prompts=self.prompts,
            references=self.references,
        )


def assemble(cfg: LoraConfig, runtime: Runtime) -> Assembled:
    """Open all that the config names, and encode what the cache lacks (collective); InputError as the parts have it."""
    models = open_models(cfg, runtime.device)
    add_adapter(models.transformer, cfg)
    cache = Cache(cfg.cache_dir)
    prompts = PromptReader(cfg, models.family, models.transformer.config, cache, runtime.device)
    looks = cfg.use_face_loss or cfg.monitor_every > 0
    face_loss = face_loss_of(cfg, models, runtime.device) if cfg.arcface_weights and looks else None
    references = References.of(face_loss, cfg.image_size, cache) if face_loss is not None else None
    samples = prepare_samples(cfg, models, prompts, references, cache, runtime)
    return Assembled(cfg, runtime, models, cache, prompts, face_loss, references, samples)
