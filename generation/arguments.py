"""The fields of a settings dataclass as flags of a command line, with the help text of each in groups."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recognition.errors import InputError

KINDS = {"Path": Path, "int": int, "float": float, "str": str}
METAVARS = {Path: "DIR", int: "N", float: "X", str: "NAME"}


@dataclasses.dataclass(frozen=True)
class Flags:
    """How the fields of a settings dataclass are shown: help texts by group, choices, and names of what some take."""

    groups: Mapping[str, Mapping[str, str]]
    choices: Mapping[str, Sequence[str]]
    metavars: Mapping[str, str]

    def add_to(
        self, parser: argparse.ArgumentParser, settings: type, defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Add a flag for every field; `defaults`: what some fields are instead of their own defaults."""
        fields = {field.name: field for field in dataclasses.fields(settings)}
        for title, helps in self.groups.items():
            group = parser.add_argument_group(title)
            for name, text in helps.items():
                field = fields[name]
                default = (defaults or {}).get(name, _default(field))
                self._add(group, field, default, text)

    def _add(self, group: argparse._ArgumentGroup, field: dataclasses.Field, default: Any, text: str) -> None:
        name = field.name
        if field.type == "bool":
            # One that a file has set can be taken back.
            action = argparse.BooleanOptionalAction if default else "store_true"
            group.add_argument(f"--{name}", action=action, default=bool(default), help=text)
            return
        kind = next(kind for word, kind in KINDS.items() if word in field.type)
        many: dict[str, Any] = {"nargs": "+"} if "tuple" in field.type else {}
        is_required = _default(field) is dataclasses.MISSING
        default = None if default is dataclasses.MISSING else default
        told = " ".join(map(str, default)) if isinstance(default, (tuple, list)) else default
        shown = "required" if is_required else "default: none" if told is None else f"default: {told}"
        shown = "" if "(default" in text and told is None else f" ({shown})"
        group.add_argument(
            f"--{name}",
            type=kind,
            default=default,
            choices=self.choices.get(name),
            metavar=self.metavars.get(name, None if name in self.choices else METAVARS[kind]),
            help=f"{text}{shown}".replace("%", "%%"),
            **many,
        )


def parsed(
    parser: argparse.ArgumentParser,
    words: Sequence[str] | None,
    settings: type,
    *,
    required: Mapping[str, str] | None = None,
) -> Any:
    """The settings that a command line gives; it ends the program with a line of help where it is wrong.

    `required`: flags that must be there, and why.
    """
    fields = [field.name for field in dataclasses.fields(settings)]
    given, others = parser.parse_known_args(words)
    if others:
        bare = [word for word in others if word in fields]
        hint = f"; flags begin with two dashes: --{bare[0]}" if bare else ""
        parser.error(f"unrecognized arguments: {' '.join(others)}{hint}")
    for name, why in (required or {}).items():
        if getattr(given, name) is None:
            parser.error(f"--{name} is required: {why}")
    values = {name: getattr(given, name) for name in fields}
    try:
        return settings(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except InputError as error:
        parser.error(str(error))


def flag_parser(description: str) -> argparse.ArgumentParser:
    """A parser whose flags are never guessed from their beginnings."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
