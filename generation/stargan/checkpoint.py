"""Checkpoints of StarGAN runs: one .pth each, tensors, numbers and texts; and the generator's weights alone."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from generation.run_folder import checkpoint_at, numbered
from generation.stargan.networks import StarGANDiscriminator, StarGANGenerator
from generation.torch_checkpoint import TorchCheckpoint, fill, require_parts
from recognition.weights import read_torch_file

FORMAT = "arcscale.stargan.1"
GENERATOR = "stargan_G.pth"  # weights alone, as `StarGANGenerator.load_state_dict` takes them
KEYS = (
    *("epoch", "step_in_epoch", "sums", "history", "settings", "attributes", "exclusive", "data_sha256", "test_sha256"),
    *("steps_an_epoch", "generator", "generator_ema", "ema_updates", "discriminator", "g_optimizer", "d_optimizer"),
    *("g_small", "d_small"),
)


class StarGANCheckpoint(TorchCheckpoint):
    """What is in a checkpoint, by the names in KEYS."""

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


def read_checkpoint(path: str | PathLike) -> StarGANCheckpoint:
    """Read a checkpoint, or the newest one in a run's folder; InputError for what is none."""
    path = checkpoint_at(Path(path), "a StarGAN run")
    content = read_torch_file(path)
    require_parts(path, content, form=FORMAT, keys=KEYS, made_by="launch/stargan.py")
    return StarGANCheckpoint(path, content)


def checkpoints_of(folder: Path) -> list[Path]:
    """The checkpoints that a run has kept of its epochs, in their order."""
    return numbered(Path(folder))
