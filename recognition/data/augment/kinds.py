"""The kinds of augmentation, what each draws from, and how a config names them: NAME:PROBABILITY[:RANGE=LOW..HIGH]."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from recognition.data.augment.colour import grey, hsv
from recognition.data.augment.covering import erase, mask
from recognition.data.augment.resampling import blur, crop, lowres, resize
from recognition.errors import InputError

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """`change(images_NCHW, draws, **ranges)`, and by name of each range: the default, and what it must lie in."""

    change: Callable[..., torch.Tensor]
    defaults: dict[str, Bounds] = field(default_factory=dict)
    limits: dict[str, Bounds] = field(default_factory=dict)


@dataclass(frozen=True)
class Augmentation:
    """A kind, the probability that it changes a picture, and the ranges that it draws from."""

    name: str
    probability: float
    ranges: dict[str, Bounds]


# In the order in which they are applied.
KINDS: dict[str, Kind] = {
    "resize": Kind(resize, {"scale": (0.5, 0.8)}, {"scale": (0.1, 1)}),
    "blur": Kind(blur, {"sigma": (0.4, 1.6)}, {"sigma": (0.1, 5)}),
    "hsv": Kind(
        hsv,
        {"hue": (-20, 20), "saturation": (0.7, 1.3), "brightness": (0.7, 1.3)},
        {"hue": (-180, 180), "saturation": (0, 2), "brightness": (0, 2)},
    ),
    "grey": Kind(grey),
    "crop": Kind(crop, {"scale": (0.85, 1)}, {"scale": (0.1, 1)}),
    "erase": Kind(erase, {"area": (0.02, 0.2)}, {"area": (0, 1)}),
    "lowres": Kind(lowres, {"factor": (2, 8)}, {"factor": (1, 16)}),
    "mask": Kind(mask),
}

# What dali_aug=True is there. Its blur is a Gaussian of 0.8 cut to 3x3 pixels: a whole one of 0.75 is nearest to that.
ARCFACE_TORCH = (
    "resize:0.1:scale=0.5..0.8",
    "blur:0.2:sigma=0.75",
    "hsv:0.2:hue=0..20:saturation=1..1.2:brightness=1",
    "grey:0.1",
)


def parse_augment(texts: Sequence[str]) -> tuple[Augmentation, ...]:
    """What the `augment` of a config asks for, in the order of KINDS; InputError names what is not known or allowed."""
    found: dict[str, Augmentation] = {}
    for text in texts:
        augmentation = _parsed(text)
        if augmentation.name in found:
            raise InputError(f"augment names {augmentation.name} twice; keep one of the two")
        found[augmentation.name] = augmentation
    return tuple(found[name] for name in KINDS if name in found)


def _parsed(text: str) -> Augmentation:
    name, *parts = text.strip().split(":")
    if name == "flip":
        raise InputError(f"augment={text!r}: mirroring is a key of its own, with probability 1/2; write flip=True")
    if name not in KINDS:
        raise InputError(f"augment={text!r}: {name!r} is not known; {_nearest(name, KINDS)}")
    kind = KINDS[name]
    probability = _number(parts[0]) if parts else math.nan
    if not 0 < probability <= 1:
        raise InputError(f"augment={text!r}: a probability above 0, at most 1 must follow the name, e.g. {name}:0.2")
    ranges = dict(kind.defaults)
    for part in parts[1:]:
        key, _, value = part.partition("=")
        if key not in ranges:
            raise InputError(f"augment={text!r}: {name} draws from no range {key!r}; {_nearest(key, ranges)}")
        ranges[key] = _bounds(value, text, key, kind)
    return Augmentation(name, probability, ranges)


def _bounds(value: str, text: str, key: str, kind: Kind) -> Bounds:
    low, dots, high = value.partition("..")
    bounds = (_number(low), _number(high if dots else low))
    least, most = kind.limits[key]
    if not least <= bounds[0] <= bounds[1] <= most:
        usual = "..".join(f"{bound:g}" for bound in kind.defaults[key])
        needed = f"{least:g} <= LOW <= HIGH <= {most:g}"
        raise InputError(f"augment={text!r}: {key} must be LOW..HIGH with {needed}; {key}={usual} is usual")
    return bounds


def _number(text: str) -> float:
    """The number, or nan, which lies in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _nearest(word: str, names: Sequence[str] | dict) -> str:
    if not names:
        return "it takes a probability only"
    nearest = difflib.get_close_matches(word, list(names), n=1, cutoff=0.0)[0]
    return f"did you mean {nearest!r}? Known: {', '.join(names)}"
