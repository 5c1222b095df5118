"""Where the values of a config come from: Python files with a `config` EasyDict, and `key=value` arguments."""

from __future__ import annotations

import ast
import difflib
import importlib.machinery
import importlib.util
import re
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recognition.errors import InputError

# Beside this package, wherever both are installed: a `configs` folder in the working directory must not take its place.
CONFIGS_DIR = Path(__file__).resolve().parents[2] / "configs"


class ConfigError(InputError):
    """A config is wrong; `key` is the key at fault where there is one."""

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


def find_config(path: str | Path) -> Path:
    """The file meant by `path`, which may lack `.py` or be relative to the installed package; ConfigError if none."""
    path = Path(path).expanduser()
    with_suffix = path if path.suffix == ".py" else path.with_name(path.name + ".py")
    for candidate in (path, with_suffix, CONFIGS_DIR.parent / with_suffix):
        if candidate.is_file():
            return candidate
    ours = {file.stem: f"configs/{file.name}" for file in CONFIGS_DIR.glob("[!_]*.py")}
    theirs = {file.stem: str(file) for file in with_suffix.parent.glob("[!_]*.py")}
    near = difflib.get_close_matches(with_suffix.stem, [*theirs, *ours], n=1, cutoff=0.6)
    hint = f"did you mean {(ours | theirs)[near[0]]}?" if near else "configs/ has ready-made ones"
    raise ConfigError(f"config file {path} does not exist; {hint}")


def read_config_file(path: Path) -> dict[str, Any]:
    """The `config` of a Python config file as a plain dict.

    Config files are code: this runs the file, so run none that you have not read. ConfigError when it fails.
    """
    loader = importlib.machinery.SourceFileLoader(f"config_file_{path.stem}", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader, origin=str(path))
    module = importlib.util.module_from_spec(spec)
    with _configs_importable_from(path.resolve().parent):
        try:
            loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"{path}{_line_in(path, error)}: {type(error).__name__}: {error}") from error
    config = getattr(module, "config", None)
    if not isinstance(config, dict):
        raise ConfigError(f"{path} defines no `config`; start it with: config = edict()")
    return dict(config)


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`key=value` arguments as a dict: values are Python literals, or else text; ConfigError for one without `=`."""
    values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            # Only the word in front: the rest may be a secret behind a mistyped sign.
            word = re.match(r"\W*\w*", override)[0]
            raise ConfigError(f"argument {word!r} is not key=value; write e.g. lr=0.1")
        if key.strip() == "rec" and "rec" in values:
            # A shell makes one argument of each file, and the last alone would count.
            raise ConfigError("rec is given more than once; put a pattern in quotes: 'rec=train-{000..123}.tar'")
        values[key.strip()] = Typed(text.strip())
    return values


class Typed(str):
    """Text that somebody typed: what it means depends on the type that its key wants."""

    def literal(self) -> Any:
        """The Python literal that the text spells (True, False, None in any case), or the text itself."""
        word = self.capitalize()
        try:
            return ast.literal_eval(word if word in ("True", "False", "None") else self)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return str(self)

    def words(self) -> list[str]:
        """The text as a list of words, `a,b` or `[a, b]`, without quotes; empty text is an empty list."""
        bare = self.strip("[]() ").replace("'", "").replace('"', "")
        return [word.strip() for word in bare.split(",") if word.strip()]


@contextmanager
def _configs_importable_from(folder: Path) -> Iterator[None]:
    """Let `from configs.x import y` and `import x` find files in `folder` first and ours next, afresh; clean up behind.

    Afresh, because a file may change what it imports (`config = base.config; config.lr = ...`), and the next file must
    not see that.
    """
    mine = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "configs"}
    before, path, bytecode = set(sys.modules), list(sys.path), sys.dont_write_bytecode
    package = types.ModuleType("configs")
    package.__path__ = list(dict.fromkeys([str(folder), str(CONFIGS_DIR)]))
    sys.modules["configs"] = package
    sys.path.append(str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or ""
            if name.split(".")[0] == "configs" or (name not in before and Path(file).parent == folder):
                del sys.modules[name]
        sys.modules.update(mine)
        sys.path[:] = path
        sys.dont_write_bytecode = bytecode


def _line_in(path: Path, error: BaseException) -> str:
    """The line of `path` that `error` came from, as `:12`; nothing when it came from elsewhere."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f":{error.lineno}"
    line, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line
