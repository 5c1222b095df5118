"""Checkpoints of StarGAN runs: one .pth each, tensors, numbers and texts; and the generator's weights alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from generation.run_folder import checkpoint_at, numbered
from generation.stargan.networks import StarGANDiscriminator, StarGANGenerator
from recognition.errors import InputError
from recognition.weights import read_torch_file

FORMAT = "arcscale.stargan.1"
GENERATOR = "stargan_G.pth"  # weights alone, as `StarGANGenerator.load_state_dict` takes them
KEYS = (
    *("epoch", "step_in_epoch", "sums", "history", "settings", "attributes", "exclusive", "data_sha256", "test_sha256"),
    *("steps_an_epoch", "generator", "generator_ema", "ema_updates", "discriminator", "g_optimizer", "d_optimizer"),
    *("g_small", "d_small"),
)


@dataclass(frozen=True, eq=False)
class StarGANCheckpoint:
    """What is in a checkpoint, by the names in KEYS."""

    path: Path
    content: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes, in the order of the generator's labels."""
        return tuple(self["attributes"])

    @property
    def exclusive(self) -> bool:
        """Whether all of them exclude each other."""
        return self["exclusive"]

    @property
    def image_size(self) -> int:
        """Side of the pictures that it was trained on."""
        return self.settings["image_size"]

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self["epoch"]

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row for each epoch: `epoch`, means of the losses by name, and more."""
        return self["history"]

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the run (config.py), as JSON has them."""
        return self["settings"]

    def generator(self, ema: bool = True) -> StarGANGenerator:
        """The generator, its moving average or as it was trained; in evaluation, without gradients of its weights."""
        generator = new_generator(self.settings, len(self.attributes))
        fill(generator, self["generator_ema" if ema else "generator"], self.path)
        return generator.eval().requires_grad_(False)


def new_generator(settings: Mapping[str, Any], c_dim: int) -> StarGANGenerator:
    """A generator as a run's settings have it."""
    residual = settings["residual"]
    return StarGANGenerator(settings["g_conv_dim"], c_dim, settings["g_repeat_num"], residual=residual)


def new_discriminator(settings: Mapping[str, Any], c_dim: int) -> StarGANDiscriminator:
    """A discriminator as a run's settings have it."""
    return StarGANDiscriminator(settings["image_size"], settings["d_conv_dim"], c_dim, settings["d_repeat_num"])


def fill(network: StarGANGenerator | StarGANDiscriminator, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights; InputError, with the file, for those of another network."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit this network: {' '.join(str(error).split())[:300]}") from error


def read_checkpoint(path: str | PathLike) -> StarGANCheckpoint:
    """Read a checkpoint, or the newest one in a run's folder; InputError for what is none."""
    path = checkpoint_at(Path(path), "a StarGAN run")
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of launch/stargan.py (it does not say format {FORMAT})")
    if missing := [key for key in KEYS if key not in content]:
        raise InputError(f"{path} lacks {', '.join(missing)}: it is damaged")
    return StarGANCheckpoint(path, content)


def checkpoints_of(folder: Path) -> list[Path]:
    """The checkpoints that a run has kept of its epochs, in their order."""
    return numbered(Path(folder))
