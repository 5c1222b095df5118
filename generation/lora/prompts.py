"""Prompts as vectors: read from files, or made by the pipeline's text encoders, once each."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generation.lora.cache import Cache, finite, key_of
from generation.lora.config import LoraConfig
from generation.lora.families import Family, Prompts
from generation.lora.models import DTYPES, require_diffusers
from generation.lora.rows import Row
from recognition.checkpoint.tensors import TensorFile
from recognition.errors import InputError

EMBEDS, POOLED = "prompt_embeds", "pooled_prompt_embeds"
KIND = "prompts"
ENCODERS = ("text_encoder*", "tokenizer*")
_ENDS_BYTES = 1 << 20
LIBRARIES = (None, "transformers", "diffusers")


class PromptReader:
    """Gives each row's prompt, of the widths that the transformer wants."""

    def __init__(self, cfg: LoraConfig, family: Family, config: Any, cache: Cache, device: torch.device) -> None:
        self.cfg, self.family, self.cache, self.device = cfg, family, cache, device
        self.widths = {EMBEDS: config.joint_attention_dim, POOLED: config.pooled_projection_dim}

    def __call__(self, row: Row) -> dict[str, Tensor]:
        """`prompt_embeds` (L, D) and `pooled_prompt_embeds` (P), float32; InputError where they do not fit."""
        if row.prompt is not None:
            found = self._encoded(row.prompt, row.where)
        elif row.pooled_embeds is not None:
            found = {EMBEDS: _array(row, "prompt_embeds"), POOLED: _array(row, "pooled_embeds")}
        else:
            found = _tensors(row)
        for name, dims in ((EMBEDS, 2), (POOLED, 1)):
            shape, width = tuple(found[name].shape), self.widths[name]
            if len(shape) != dims or shape[-1] != width or 0 in shape:
                wanted = f"(tokens, {width})" if dims == 2 else f"({width},)"
                raise InputError(
                    f"{row.where}: {name} has shape {shape}, the transformer takes {wanted}; was it made by its own "
                    "text encoders?"
                )
        return {name: tensor.float() for name, tensor in finite(found, row.where).items()}

    def _encoded(self, prompt: str, where: str) -> dict[str, Tensor]:
        # What one precision overflows in, another may hold.
        key = key_of(prompt, self.encoders_sha256, self.cfg.prompt_tokens, self.cfg.precision)
        return self.cache.get_or_make(KIND, key, lambda: finite(self._encode(prompt), where))

    @torch.no_grad()
    def _encode(self, prompt: str) -> dict[str, Tensor]:
        options: dict[str, Any] = {"device": self.device, "max_sequence_length": self.cfg.prompt_tokens}
        if self.family.name == "sd3":
            found = self.pipeline.encode_prompt(prompt, None, None, do_classifier_free_guidance=False, **options)
            return {EMBEDS: found[0][0], POOLED: found[2][0]}
        found = self.pipeline.encode_prompt(prompt, None, **options)
        return {EMBEDS: found[0][0], POOLED: found[1][0]}

    @cached_property
    def encoders_sha256(self) -> str:
        """What tells the text encoders apart without loading them: their files' names, sizes and ends."""
        folder, parts = Path(self.cfg.text_encoders).expanduser(), []
        for path in sorted(path for name in ENCODERS for path in folder.glob(f"{name}/*")):
            with open(path, "rb") as file:
                size, first = path.stat().st_size, file.read(_ENDS_BYTES)
                file.seek(max(0, size - _ENDS_BYTES))
                parts.append((path.relative_to(folder).as_posix(), size, first, file.read()))
        return key_of(*parts)

    @cached_property
    def pipeline(self) -> Any:
        """The pipeline without its transformer and VAE; InputError where its text encoders cannot be read."""
        require_diffusers()
        import diffusers

        folder = Path(self.cfg.text_encoders).expanduser()
        _require_plain(folder, self.family.pipeline)
        try:
            pipeline = getattr(diffusers, self.family.pipeline).from_pretrained(
                folder,
                transformer=None,
                vae=None,
                local_files_only=True,
                use_safetensors=True,
                dtype=DTYPES[self.cfg.precision],
            )
        except (OSError, ValueError, RuntimeError, TypeError, AttributeError, ImportError, KeyError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"text_encoders={folder} cannot be read: {first[:200]}") from error
        return pipeline.to(self.device)

    def forget_encoders(self) -> None:
        """Let go of the text encoders: what they take is memory that training needs."""
        self.__dict__.pop("pipeline", None)


def stacked(found: list[dict[str, Tensor]]) -> Prompts:
    """Prompts of one length as a batch."""
    return Prompts(*(torch.stack([each[name] for each in found]) for name in (EMBEDS, POOLED)))


def _require_plain(folder: Path, kind: str) -> None:
    """InputError unless the folder is of such a pipeline, all of whose parts are of the two libraries.

    A pipeline may name classes in files of its own beside the weights, which are programs: these are not run.
    """
    index = folder / "model_index.json"
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))
        found = parts["_class_name"]
        foreign = [name for name, part in parts.items() if isinstance(part, list) and part[0] not in LIBRARIES]
    except FileNotFoundError as error:
        raise InputError(f"text_encoders={folder} is no folder of a pipeline: it has no model_index.json") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{index} is no list of a pipeline's parts ({error!r})") from error
    if found != kind:
        raise InputError(f"text_encoders={folder} is a {found}; the transformer wants those of a {kind}")
    if foreign:
        raise InputError(f"{index}: {foreign[0]} is of a class beside the weights, which is code and is not run")


def _tensors(row: Row) -> dict[str, Tensor]:
    file = TensorFile(row.path("prompt_embeds"))
    missing = [name for name in (EMBEDS, POOLED) if name not in file.keys()]  # noqa: SIM118 (not a dict)
    if missing:
        raise InputError(f"{row.where}: {file.path} has no {missing[0]}; it has {', '.join(file.keys()) or 'nothing'}")
    return {name: file.get(name).clone() for name in (EMBEDS, POOLED)}


def _array(row: Row, key: str) -> Tensor:
    path = row.path(key)
    try:
        with open(path, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))
    except (ValueError, TypeError, EOFError) as error:
        raise InputError(f"{row.where}: {key} {path} is no array of numbers ({error})") from error
