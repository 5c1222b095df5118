"""What a config is made of, from the bottom up: the file with all defaults, a config file, `key=value` arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from recognition.config.source import ConfigError, find_config, read_config_file, read_overrides
from recognition.config.types import typed_values

Config = TypeVar("Config")


@dataclass(frozen=True)
class Layers:
    """The values that the file `path` and the command line give, typed."""

    path: Path
    from_file: dict[str, Any]
    commands: dict[str, Any]

    @property
    def default_output(self) -> str:
        """The folder of a run for which no other is named."""
        return f"work_dirs/{self.path.stem}"

    def build(self, kind: Callable[..., Config], values: Mapping[str, Any]) -> Config:
        """The config of these values; ConfigError that says which layer gave the value at fault."""
        given_by = dict.fromkeys(self.from_file, str(self.path)) | dict.fromkeys(self.commands, "command line")
        try:
            return kind(**values)
        except ConfigError as error:
            raise ConfigError(f"{given_by.get(error.key, self.path)}: {error}", key=error.key) from None


def read_layers(path: str | Path, overrides: Sequence[str], types: Mapping[str, Any], *, documented: str) -> Layers:
    """Run the file `path`, and read the arguments; ConfigError for an unknown key or a wrong type.

    `documented` is the file that messages point to.
    """
    path = find_config(path)
    commands = typed_values(read_overrides(overrides), types, "command line", documented=documented)
    from_file = typed_values(read_config_file(path), types, str(path), documented=documented)
    return Layers(path, from_file, commands)
