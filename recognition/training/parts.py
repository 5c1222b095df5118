"""Parts of a network by name: what a learning rate factor or a freeze applies to.

A part is a beginning of parameter names, in whole words between dots: "layer1" holds "layer1.0.conv1.weight" and not
"layer10.bias". "backbone" is all of the backbone; "head" is the class centres and the objective's parameters.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from recognition.errors import InputError

BACKBONE, HEAD = "backbone", "head"


def parse_lr_factors(texts: Sequence[str]) -> dict[str, float]:
    """Factors by part out of texts such as "layer1:0.01"; InputError for one that is not PART:FACTOR, or comes twice.

    Whether the network has such a part is for `require_parts` to say.
    """
    factors: dict[str, float] = {}
    for text in texts:
        part, colon, number = (piece.strip() for piece in text.partition(":"))
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not (part and colon and math.isfinite(factor)):
            raise InputError(f"lr_factors holds {text!r}; write PART:FACTOR, e.g. backbone:0.1")
        if factor <= 0:
            raise InputError(f"lr_factors holds {text!r}, but a factor must be above 0; freeze={part} stops a part")
        if part in factors:
            raise InputError(f"lr_factors holds {part!r} twice, {factors[part]:g} and {factor:g}; keep one of them")
        factors[part] = factor
    return factors


def is_part_of(name: str, part: str) -> bool:
    """Whether the parameter, or module, `name` of a backbone lies in `part`."""
    return part in (BACKBONE, name) or name.startswith(f"{part}.")


def lr_factor(name: str, factors: Mapping[str, float]) -> float:
    """The factor of the backbone's parameter `name`: that of its longest part among `factors`, else 1."""
    parts = [part for part in factors if is_part_of(name, part)]
    # "backbone" may well be longer than the name of a smaller part.
    return factors[max(parts, key=lambda part: (part != BACKBONE, len(part)))] if parts else 1.0


def head_lr_factor(factors: Mapping[str, float]) -> float:
    """The factor of the class centres and of the objective's parameters."""
    return factors.get(HEAD, 1.0)


def part_names(backbone: nn.Module) -> list[str]:
    """Every part that the backbone's parameters have, in the order of the network, "backbone" first."""
    names = {BACKBONE: None}
    for name, _ in backbone.named_parameters():
        words = name.split(".")
        names |= dict.fromkeys(".".join(words[:count]) for count in range(1, len(words) + 1))
    return list(names)


def require_parts(parts: Iterable[str], backbone: nn.Module, key: str) -> None:
    """InputError, naming the config's `key` and the nearest parts, for one that the backbone does not have."""
    known = part_names(backbone)
    for part in parts:
        if part not in known:
            nearest = difflib.get_close_matches(part, known, n=3, cutoff=0.0)
            top = [name for name in known if "." not in name]
            raise InputError(
                f"{key}: this network has no part {part!r}; did you mean {' or '.join(map(repr, nearest))}? "
                f"Its largest parts are {', '.join(top)}"
            )
