"""Each value of a config against the type of its key: known keys, right types, and errors that name the nearest key."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from recognition.config.source import ConfigError, Typed

# arcface_torch writes these into the config while it runs, so they turn up in files that were saved from a run.
COMPUTED = ("total_batch_size", "warmup_step", "total_step")

DOCUMENTED = "configs/base.py"

# What people write who come from elsewhere, and what says the same here.
ELSEWHERE = {
    "decay_epoch": "arcface_torch dropped steps in 2022; write schedule='polynomial' or 'cosine'",
    "lr_func": "arcface_torch dropped steps in 2022; write schedule='polynomial' or 'cosine'",
    "learning_rate": "write lr",
    "epochs": "write num_epoch",
    "bf16": "write precision='bf16'",
    "amp": "write precision='bf16' or precision='fp16'",
    "local_rank": "torchrun sets it",
}

SECRET_WORDS = {"key", "token", "secret", "password"}


def is_secret(key: str) -> bool:
    """True for keys whose value must not be shown, such as wandb_key."""
    return not SECRET_WORDS.isdisjoint(key.lower().split("_"))


def masked(key: str, value: Any) -> Any:
    """`value`, or `****` in its place when the key is a secret that is set."""
    return "****" if is_secret(key) and value is not None else value


def typed_values(
    values: Mapping[str, Any], types: Mapping[str, Any], where: str, *, documented: str = DOCUMENTED
) -> dict[str, Any]:
    """`values` in the types of their keys, without COMPUTED; ConfigError names `where`, the key and what it wants.

    `documented` is the file that has all keys.
    """
    result = {}
    for key, value in values.items():
        if key in COMPUTED:
            continue
        if key not in types:
            raise ConfigError(f"{where}: unknown key {key!r}; {_advice(key, types, documented)}", key=key)
        try:
            result[key] = as_type(value, types[key])
        except (TypeError, ValueError):
            shown = masked(key, str(value) if isinstance(value, Typed) else value)
            given = f"{shown!r} ({'text' if isinstance(value, str) else type(value).__name__})"
            raise ConfigError(f"{where}: {key} wants {type_name(types[key])}, not {given}", key=key) from None
    return result


def as_type(value: Any, wanted: Any) -> Any:
    """`value` as the type `wanted`; TypeError or ValueError when it is none.

    An int may stand for a float, a list for a tuple, a path for text; a bool stands for no number.
    """
    if get_origin(wanted) in (Union, UnionType):
        literal = value.literal() if isinstance(value, Typed) else value
        if literal is None and NoneType in get_args(wanted):
            return None
        if isinstance(literal, bool) and bool in get_args(wanted):
            return literal
        kinds = [kind for kind in get_args(wanted) if kind not in (NoneType, bool)]
        of_lists = [kind for kind in kinds if get_origin(kind) is tuple]
        wanted = of_lists[0] if of_lists and isinstance(literal, (list, tuple)) else kinds[0]
    if get_origin(wanted) is tuple:
        return _as_tuple(value, get_args(wanted))
    if wanted is str:
        if isinstance(value, Typed) and isinstance(value.literal(), str):
            return value.literal()
        return str(os.fspath(value))
    if isinstance(value, Typed):
        value = value.literal()
    if isinstance(value, bool) != (wanted is bool):
        raise TypeError
    if wanted is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, wanted) or (wanted is float and not math.isfinite(value)):
        raise TypeError
    return value


def type_name(wanted: Any) -> str:
    """A type in the words of the error messages."""
    if get_origin(wanted) in (Union, UnionType):
        return " or ".join(type_name(kind) for kind in get_args(wanted))
    if get_origin(wanted) is tuple:
        kinds = get_args(wanted)
        if kinds[-1] is Ellipsis:
            return "a list of text, e.g. ['lfw', 'agedb_30']"
        return f"{len(kinds)} numbers, e.g. ({', '.join(('1.0', '0.5', '0.0')[: len(kinds)])})"
    return {bool: "True or False", int: "a whole number", float: "a number", str: "text", NoneType: "None"}[wanted]


def _as_tuple(value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, Typed):
        literal = value.literal()
        value = value.words() if isinstance(literal, str) else literal
    elif isinstance(value, str) and kinds[-1] is Ellipsis:
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise TypeError
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise ValueError
    return tuple(as_type(item, kind) for item, kind in zip(value, kinds))


def _advice(key: str, types: Mapping[str, Any], documented: str) -> str:
    elsewhere = ELSEWHERE if documented == DOCUMENTED else {}
    nearest = difflib.get_close_matches(key, [*types, *elsewhere], n=1, cutoff=0.0)[0]
    return elsewhere.get(nearest, f"did you mean {nearest!r}? All keys are in {documented}")
