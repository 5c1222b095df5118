"""Transformer and VAE of a run: from local folders of diffusers, safetensors alone, or small untrained ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from generation.lora.config import LoraConfig
from generation.lora.families import Family, families
from recognition.errors import InputError
from recognition.weights import weights_sha256

TINY, TINY_VAE = "tiny-", "tiny"
VAE_KINDS = ("AutoencoderKL", "AutoencoderTiny")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, eq=False)
class Models:
    """The frozen models of a run, in eval mode; `vae_sha256` tells what the VAE encodes to."""

    family: Family
    transformer: nn.Module
    vae: nn.Module
    vae_sha256: str

    @property
    def scale(self) -> int:
        """Pixels on a side of a latent pixel."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)


def require_diffusers() -> None:
    """InputError that says how to get the packages, where they are missing."""
    try:
        import diffusers  # noqa: F401
        import peft  # noqa: F401
    except ImportError as error:
        raise InputError(f"LoRA training needs {error.name}: pip install -e '.[generation]'") from error


def open_models(cfg: LoraConfig, device: torch.device) -> Models:
    """The transformer and VAE that the config names, on `device`, frozen, in their precisions.

    InputError for folders without them, weights that are not safetensors, other families, and a VAE whose latents the
    transformer does not take.
    """
    require_diffusers()
    family, transformer = _transformer(cfg)
    vae = _vae(cfg)
    wanted, found = family.latent_channels(transformer.config), vae.config.latent_channels
    if wanted != found:
        raise InputError(
            f"transformer={cfg.transformer} takes latents of {wanted} channels, vae={cfg.vae} makes {found}; "
            "name the VAE that it was trained with"
        )
    # Without what diffusers notes beside: where the folder lies, and by which version of it.
    said = {key: value for key, value in vae.config.items() if not key.startswith("_")}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    digest.update(weights_sha256(vae.state_dict()).encode() + cfg.vae_precision.encode())
    for model in (transformer, vae):
        model.to(device).requires_grad_(False).eval()
    models = Models(family, transformer, vae, digest.hexdigest())
    multiple = models.scale * family.patch(transformer.config)
    if cfg.image_size % multiple:
        raise InputError(f"image_size={cfg.image_size} must be a multiple of {multiple}, for this VAE and transformer")
    return models


def _transformer(cfg: LoraConfig) -> tuple[Family, nn.Module]:
    known = families()
    if cfg.transformer.startswith(TINY):
        for family in known.values():
            if cfg.transformer == TINY + family.name:
                return family, _built(family.tiny, cfg.seed, DTYPES[cfg.precision])
        names = ", ".join(TINY + family.name for family in known.values())
        raise InputError(f"transformer={cfg.transformer} is not known; the small ones are {names}")
    folder, kind = _folder_of("transformer", cfg.transformer)
    if kind not in known:
        raise InputError(
            f"{folder} holds a {kind}; flow-matching transformers of these families are trained here: "
            f"{', '.join(known)}"
        )
    return known[kind], _read(kind, folder, DTYPES[cfg.precision])


def _vae(cfg: LoraConfig) -> nn.Module:
    if cfg.vae == TINY_VAE:
        return _built(tiny_vae, cfg.seed, DTYPES[cfg.vae_precision])
    folder, kind = _folder_of("vae", cfg.vae)
    if kind not in VAE_KINDS:
        raise InputError(f"{folder} holds a {kind}; a VAE is an {' or '.join(VAE_KINDS)} here")
    if cfg.face_window and kind != VAE_KINDS[0]:
        raise InputError(f"face_window=True needs an {VAE_KINDS[0]}, and {folder} holds an {kind}; set it to False")
    return _read(kind, folder, DTYPES[cfg.vae_precision])


def tiny_vae() -> nn.Module:
    """A small untrained AutoencoderKL, 4 pixels to a latent pixel, 4 channels, from torch's random state."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    with torch.no_grad():  # as it is initialised, all its pictures are grey
        vae.decoder.conv_out.weight.mul_(3)
    return vae


def _built(build: Callable[[], nn.Module], seed: int, dtype: torch.dtype) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Past the models' own `to`, which warns of every cast.
        return nn.Module.to(build(), dtype)


def _folder_of(part: str, given: str) -> tuple[Path, str]:
    """The folder of a model and its class; `given` is that folder, or the one of a pipeline with the part in it."""
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"{part}={given} is no folder here; name a local one of diffusers (nothing is downloaded: fetch it first)"
        )
    folder = folder / part if (folder / "model_index.json").is_file() or not _config(folder) else folder
    config = _config(folder)
    if config is None:
        raise InputError(f"{part}={given} holds no {part} of diffusers: neither config.json nor {part}/config.json")
    try:
        kind = json.loads(config.read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{config} is no config of a diffusers model ({error!r})") from error
    if not list(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        why = f"; {pickled[0]} may hold code and is not read: convert it to safetensors" if pickled else ""
        raise InputError(f"{folder} holds no weights (*.safetensors){why}")
    return folder, str(kind)


def _config(folder: Path) -> Path | None:
    return folder / "config.json" if (folder / "config.json").is_file() else None


def _read(kind: str, folder: Path, dtype: torch.dtype) -> nn.Module:
    import diffusers

    try:
        return getattr(diffusers, kind).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{folder} cannot be read as {kind}: {first[:200]}; is it complete?") from error
