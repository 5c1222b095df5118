"""Low-rank adapters (LoRA, Hu et al., arXiv:2106.09685) on a frozen transformer, in files that diffusers reads.

W' = W + alpha / rank * B A, eq. 3: A (rank, in) drawn at random, B (out, rank) 0, so that training begins at the base.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from generation.lora.config import LoraConfig
from recognition.atomic import replacing
from recognition.checkpoint.tensors import TensorFile
from recognition.errors import InputError

FILE, FOLDER = "pytorch_lora_weights.safetensors", "adapter"  # of a run
# In the pipeline's file each model's tensors begin with its name; `load_lora_adapter` takes the same beginning.
PREFIX = "transformer."
METADATA = "lora_adapter_metadata"
# Of a layer's name: to_out.0 of transformer_blocks.3.attn.to_out.0.
_LAST_PART = re.compile(r"[A-Za-z_]\w*(\.\d+)*$")


def add_adapter(transformer: nn.Module, cfg: LoraConfig) -> None:
    """Put a trainable float32 adapter beside the layers that `target_modules` name, equal on all ranks.

    InputError where no layer has such a name, or `init` does not fit.
    """
    from peft import LoraConfig as PeftConfig

    linear = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
    for end in cfg.target_modules:
        if not any(f".{name}".endswith(f".{end}") for name in linear):
            lasts = sorted({_LAST_PART.search(name)[0] for name in linear})
            nearest = difflib.get_close_matches(end, lasts, n=1, cutoff=0.0)[0]
            raise InputError(
                f"target_modules: no linear layer of {type(transformer).__name__} is called {end!r}; did you mean "
                f"{nearest!r}? There are {', '.join(lasts)}"
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed)
        transformer.add_adapter(
            PeftConfig(r=cfg.rank, lora_alpha=cfg.lora_alpha, target_modules=list(cfg.target_modules))
        )
    for parameter in adapter_parameters(transformer).values():
        parameter.data = parameter.data.float()
    if cfg.init is not None:
        load_adapter(transformer, Path(cfg.init))


def adapter_parameters(transformer: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, by name: those of the adapter."""
    return {name: parameter for name, parameter in transformer.named_parameters() if parameter.requires_grad}


def save_adapter(folder: Path, transformer: nn.Module, facts: Mapping[str, Any]) -> Path:
    """Write FILE into `folder`, whole or not at all, with `facts` (JSON) in its header; returns its path.

    `pipeline.load_lora_weights(folder)` and `transformer.load_lora_adapter(folder, use_safetensors=True)` read it, with
    its alpha.
    """
    config = transformer.peft_config["default"].to_dict()
    known = {PREFIX + key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    metadata = {"format": "pt", METADATA: json.dumps(known, sort_keys=True, default=str)}
    metadata["arcscale"] = json.dumps(dict(facts), sort_keys=True)
    state = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in _state(transformer).items()}
    path = folder / FILE
    try:
        with replacing(path) as partial:
            save_file(state, partial, metadata=metadata)
    except SafetensorError as error:
        # The library says "disk full" without an OSError, and without the file.
        raise InputError(f"{path} could not be written ({error}); is there room on the disk?") from error
    return path


def load_adapter(transformer: nn.Module, source: Path) -> None:
    """Copy the tensors of an adapter into that of `transformer`; `source`: its file, FILE's folder, or that of a run.

    InputError where they are not those of its layers and rank, or are known to count by another alpha.
    """
    from peft import set_peft_model_state_dict

    places = (source / FILE, source / FOLDER / FILE) if source.is_dir() else (source,)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise InputError(f"init={source} holds no adapter: {places[0]} does not exist")
    file, wanted = TensorFile(path), _state(transformer)
    found = {name.removeprefix(PREFIX): name for name in file.keys()}  # noqa: SIM118 (not a dict)
    if found.keys() != wanted.keys():
        other = sorted(found.keys() ^ wanted.keys())[0]
        raise InputError(f"{path} is an adapter of other layers ({other}); give target_modules as it was trained")
    state = {name: file.get(found[name]).clone() for name in wanted}
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, the run {tuple(wanted[name].shape)}"
            raise InputError(f"{path}: {name} has shape {shapes}; is it of the same rank and transformer?")
    alpha, own = _alpha(file), transformer.peft_config["default"].lora_alpha
    if alpha not in (None, own):
        raise InputError(f"{path} was trained with alpha={alpha:g}, the run has {own:g}; set alpha={alpha:g} as well")
    set_peft_model_state_dict(transformer, state)


def _alpha(file: TensorFile) -> float | None:
    """The alpha that an adapter's file tells; None where it tells none: others write tensors alone."""
    try:
        return float(json.loads(file.metadata[METADATA])[f"{PREFIX}lora_alpha"])
    except (KeyError, ValueError, TypeError):
        return None


def _state(transformer: nn.Module) -> dict[str, Tensor]:
    """The adapter's tensors under their public names."""
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(transformer)
