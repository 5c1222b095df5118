"""How pictures become what a recogniser was trained on: channel order, mean, standard deviation and size, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recognition.data.transforms import CHANNEL_ORDER, MEAN, STD
from recognition.errors import InputError

Values = tuple[float, ...]  # one for all channels, or one for each of the three


@dataclass(frozen=True)
class Preprocess:
    """The model sees (pixel - mean) / std, pixels 0 to 255; None stands for what is not said.

    `order` is "RGB" or "BGR". Means and deviations are given in the order in which the model sees the channels: with
    BGR the first is that of blue. `size`: pictures are first resized to so many pixels square.
    """

    order: str | None = None
    mean: Values | None = None
    std: Values | None = None
    size: int | None = None

    def over(self, known: Preprocess) -> Preprocess:
        """This, with what it does not say taken from `known`."""
        said = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return replace(known, **{name: value for name, value in said.items() if value is not None})

    def facts(self) -> dict[str, Any]:
        """`channel_order`, `mean`, `std` (a number where it is the same for all channels), and `resized_to`."""
        resized = {} if self.size is None else {"resized_to": self.size}
        return {"channel_order": self.order, "mean": _plain(self.mean), "std": _plain(self.std), **resized}

    def text(self) -> str:
        """What stands for this after --preprocess: the recipe's name where it is one, in full otherwise."""
        for name, (recipe, _) in RECIPES.items():
            if recipe == self:
                return name
        parts = [] if self.order is None else [self.order.lower()]
        for word, values in (("mean", self.mean), ("std", self.std)):
            parts += [] if values is None else [f"{word}={':'.join(f'{value:g}' for value in values)}"]
        return ",".join(parts if self.size is None else [*parts, f"size={self.size}"])


# The one that all pictures here have been brought to when a model is called.
OURS = Preprocess(CHANNEL_ORDER, (MEAN,), (STD,))
RAW = Preprocess(CHANNEL_ORDER, (0.0,), (1.0,))
# --preprocess NAME, and who uses it.
RECIPES: dict[str, tuple[Preprocess, str]] = {
    "arcface": (OURS, "arcscale and arcface_torch"),
    "arcface-128": (Preprocess("RGB", (127.5,), (128.0,)), "older models of InsightFace"),
    "adaface": (Preprocess("BGR", (127.5,), (127.5,)), "AdaFace, CVLface"),
    "facenet": (Preprocess("RGB", (127.5,), (128.0,), 160), "FaceNet and facenet-pytorch"),
    "vggface2": (Preprocess("BGR", (91.4953, 103.8827, 131.0912), (1.0,), 224), "VGGFace2's ResNets and SENets"),
    "imagenet": (Preprocess("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), "torchvision, timm"),
    "unit": (Preprocess("RGB", (0.0,), (255.0,)), "models that take 0 to 1"),
    "raw": (RAW, "models that take 0 to 255, MXNet's and those that normalise inside"),
    "sface": (RAW, "SFace of OpenCV's model zoo"),
}
FREE_FORM = "rgb or bgr, mean=M, std=S, size=PIXELS (M and S: one number, or three as 104:117:123)"
MAX_SIZE = 4096


def parse_preprocess(text: str) -> Preprocess:
    """`arcface`, `bgr,mean=104:117:123,std=1`, `unit,bgr`: a recipe, single values, or values on top of a recipe.

    InputError names the word that is not understood.
    """
    found = Preprocess()
    for place, word in enumerate(text.split(",")):
        key, equals, value = word.strip().partition("=")
        key = key.strip().lower()
        if not equals and key in RECIPES and place == 0:
            found = RECIPES[key][0]
        elif not equals and key in ("rgb", "bgr"):
            found = replace(found, order=key.upper())
        elif equals and key in ("mean", "std"):
            found = replace(found, **{key: _values(text, key, value)})
        elif equals and key == "size":
            found = replace(found, size=_size(text, value))
        else:
            near = get_close_matches(key, RECIPES, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near and not equals and place == 0 else ""
            raise InputError(
                f"--preprocess {text}: {word.strip()!r} is not understood{hint}; give one of {', '.join(RECIPES)}, "
                f"and after it or alone, separated by commas: {FREE_FORM}"
            )
    return found


def recipes_help() -> str:
    """The recipes, a line each, for -h."""
    width = max(map(len, RECIPES))
    lines = []
    for name, (recipe, whose) in RECIPES.items():
        size = "" if recipe.size is None else f", resized to {recipe.size}x{recipe.size}"
        values = f"{recipe.order}, (pixel - {_shown(recipe.mean)}) / {_shown(recipe.std)}{size}"
        lines.append(f"  {name:{width}}  {values}: {whose}")
    return "\n".join([*lines, f"  {'or freely':{width}}  {FREE_FORM}"])


def given_values(name: str, value: float | Sequence[float] | None) -> Values | None:
    """What --mean or --std says as a tuple of one or three; InputError for another count, and for what is no number."""
    if value is None:
        return None
    values = tuple(float(entry) for entry in ([value] if isinstance(value, int | float) else value))
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise InputError(f"--{name} {value}: give one number, or three for the three channels")
    if name == "std" and not all(values):
        raise InputError("--std 0 would divide by zero; give the standard deviation in pixel values, e.g. 127.5")
    return values


def stored_preprocess(facts: dict[str, Any], what: str) -> Preprocess:
    """`channel_order`, `mean` and `std` as a file says them of itself; InputError where they make no sense."""
    order = facts.get("channel_order")
    if order not in (None, "RGB", "BGR"):
        raise InputError(f"{what} says channel_order {order!r}; it should be RGB or BGR: give --preprocess instead")
    try:
        return Preprocess(order, *(given_values(key, facts.get(key)) for key in ("mean", "std")))
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{what} says mean {facts.get('mean')!r} and std {facts.get('std')!r}: no numbers") from error


def apply(preprocess: Preprocess, x_BCHW: Tensor) -> Tensor:
    """RGB pictures in [-1, 1] (B, 3, H, W) as the model wants them; `preprocess` says all but the size.

    Resized bilinearly with antialiasing where pictures get smaller.
    """
    side = preprocess.size
    if side is not None and x_BCHW.shape[2:] != (side, side):
        x_BCHW = F.interpolate(x_BCHW, (side, side), mode="bilinear", align_corners=False, antialias=True)
    if preprocess.order == "BGR":
        x_BCHW = x_BCHW.flip(1)
    if (preprocess.mean, preprocess.std) == ((MEAN,), (STD,)):
        return x_BCHW
    mean, std = (
        torch.tensor(values, dtype=x_BCHW.dtype, device=x_BCHW.device)[:, None, None]
        for values in (preprocess.mean, preprocess.std)
    )
    return (x_BCHW * STD + (MEAN - mean)) / std


def _values(text: str, key: str, value: str) -> Values:
    try:
        values = [float(part) for part in value.split(":")]
    except ValueError as error:
        raise InputError(f"--preprocess {text}: {key}={value} is no number; write e.g. {key}=127.5") from error
    return given_values(key, values)


def _size(text: str, value: str) -> int:
    if not value.strip().isdecimal() or not 1 <= int(value) <= MAX_SIZE:
        raise InputError(f"--preprocess {text}: size={value} is no number of pixels; write e.g. size=160")
    return int(value)


def _plain(values: Values | None) -> float | list[float] | None:
    """A number where one is enough."""
    if values is None:
        return None
    return values[0] if len(set(values)) == 1 else list(values)


def _shown(values: Values) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"({' '.join(f'{value:g}' for value in values)})"
