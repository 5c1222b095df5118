"""Checkpoints of pose-control runs: one .pth each, tensors, numbers and texts, under the names that users know."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from generation.backbone import FrozenBackbone
from generation.posecontrol.config import model_arguments
from generation.posecontrol.control_net import ImageControlNet
from generation.posecontrol.encoders import CNN, TIMM, UNTRAINED
from generation.run_folder import checkpoint_at
from generation.torch_checkpoint import TorchCheckpoint, require_parts
from recognition.errors import InputError
from recognition.weights import read_torch_file

FORMAT = "arcscale.posecontrol.1"
KEYS = (
    *("epoch", "model_state_dict", "optimizer_state_dict", "scheduler_state_dict", "scaler_state_dict"),
    *("best_val_loss", "train_metrics_history", "val_metrics_history", "args", "encoder", "trainable", "split"),
    *("data_sha256", "step_in_epoch", "sums"),
)


class PoseCheckpoint(TorchCheckpoint):
    """What is in a checkpoint, by the names in KEYS."""

    @property
    def settings(self) -> dict[str, Any]:
        """See TorchCheckpoint; its users know them as `args`."""
        return self["args"]

    def model(self, *, recogniser: FrozenBackbone | str | PathLike | None = None) -> ImageControlNet:
        """The model with its weights; `recogniser`: where it lies now. InputError where the encoder is another one."""
        arguments = model_arguments(self["args"])
        found = recogniser or arguments["recogniser"]
        if arguments["encoder"].startswith(TIMM):
            arguments["encoder_weights"] = UNTRAINED  # they are in the checkpoint
        if self["encoder"].get("instead_of"):
            # What was trained is the substitute.
            arguments["encoder"], found = self["encoder"]["encoder"], None
        elif found is not None and not isinstance(found, FrozenBackbone) and not Path(found).exists():
            raise InputError(
                f"{self.path} was trained with the recogniser {found}, which is not there; say where it is"
            )
        model = ImageControlNet(**{**arguments, "recogniser": found, "strict_encoder": True})
        self.load_into(model)
        return model

    def load_into(self, model: ImageControlNet) -> None:
        """Give a model these weights; InputError where it has another encoder or another shape."""
        ours, theirs = model.encoder.facts, self["encoder"]
        if ours["frozen"] and not theirs["frozen"] and ours["encoder"] != CNN:
            raise InputError(f"{self.path} has an encoder that was trained along; go on with --finetune_backbone")
        # One that was trained along is in the checkpoint, with the weights that it came to have.
        same = ("encoder", "network", "sha256") if theirs["frozen"] else ("encoder", "network")
        for key in same:
            if ours.get(key) != theirs.get(key):
                raise InputError(
                    f"{self.path} was trained with another encoder ({key} {theirs.get(key)}, not {ours.get(key)}); "
                    "give it the one it had"
                )
        try:
            unfit = model.load_state_dict(self["model_state_dict"], strict=False)
        except RuntimeError as error:
            raise InputError(f"{self.path} does not fit this model: {' '.join(str(error).split())[:300]}") from error
        # A frozen recogniser is not in the checkpoint; the model has the same one.
        missing = [
            name for name in unfit.missing_keys if not (theirs["frozen"] and name.startswith("encoder.network."))
        ]
        if wrong := missing + list(unfit.unexpected_keys):
            raise InputError(f"{self.path} does not fit this model: {wrong[0]} and {len(wrong) - 1} more do not match")


def read_checkpoint(path: Path) -> PoseCheckpoint:
    """Read a checkpoint, or the newest one in a run's folder; InputError for what is none."""
    path = checkpoint_at(path, "a pose-control run")
    content = read_torch_file(path)
    require_parts(path, content, form=FORMAT, keys=KEYS, made_by="launch/controlnet.py")
    return PoseCheckpoint(path, content)
