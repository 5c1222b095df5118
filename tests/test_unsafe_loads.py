"""Nothing in the packages can execute what a user downloaded: the names that could are not there, however spelled."""

import ast

import pytest

from tests.conftest import ROOT

PACKAGES = ("recognition", "generation", "launch", "configs")
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]

BUILTINS = {"eval", "exec", "compile", "__import__", "__builtins__", "globals", "locals", "vars"}
# A name forbids all that begins with it: `pickle` also stands for `pickle.loads`.
FORBIDDEN = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "jsonpickle", "marshal", "shelve", "joblib"),
    *("importlib", "imp", "runpy", "code", "codeop", "builtins", *BUILTINS),
    *("os.system", "os.popen", "posix.system", "posix.popen", "pty.spawn"),
    *(f"os.{kind}{how}" for kind in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
    *(f"yaml.{name}" for name in ("load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all")),
    *("yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader", "pandas.read_pickle", "numpy.load", "numpy.lib.npyio"),
    *("torch.jit.load", "torch.jit._serialization", "torch._C.import_ir_module"),
    *("torch._C.import_ir_module_from_buffer", "torch.hub", "torch.package", "torch.serialization.add_safe_globals"),
    *("torch.distributed.checkpoint.load", "torch.distributed.checkpoint.load_state_dict"),
}
UNLESS_WEIGHTS_ONLY = {"torch.load", "torch.serialization.load"}
# What must be written so where it is written at all.
ONLY_VALUE = {"shell": False, "allow_pickle": False, "weights_only": True}

ALLOWED = {
    # A config file is a program by design (as in arcface_torch); the README and the function's docstring say so.
    "recognition/config/source.py": {
        "importlib.machinery",
        "importlib.machinery.SourceFileLoader",
        "importlib.util",
        "importlib.util.module_from_spec",
        "importlib.util.spec_from_loader",
    },
    # Loads the modules that its own table names, when their names are first used; nothing that is given reaches it.
    "generation/__init__.py": {"importlib.import_module"},
    # .bin sets are pickles: they are written with pickle, and read by recognition/verification/pickled.py.
    "recognition/verification/pairs.py": {"pickle", "pickle.dump"},
    # TorchScript is a program: read by torchscript_gate.py before it is loaded, and again before it runs.
    "recognition/embedding/torchscript_model.py": {"torch.jit.load"},
    # The exception by which torch.load(weights_only=True) refuses.
    "recognition/weights.py": {"pickle", "pickle.UnpicklingError"},
}


class Search(ast.NodeVisitor):
    """Collects (name, line) of all that can run foreign code; names are those that the imports make of a spelling."""

    def __init__(self, text):
        self.found, self.meaning = [], {}
        tree = ast.parse(text)
        for node in ast.walk(tree):
            self.learn(node)
        self.visit(tree)

    def learn(self, node):
        """Note what a name stands for after an import, or after `name = module.function`."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                self.meaning[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                self.meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Assign) and (value := self.full_name(node.value)):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self.meaning[target.id] = value

    def full_name(self, node):
        """`numpy.load` for `np.load`, `getattr(np, "load")` and `from numpy import load`; None for anything local."""
        if isinstance(node, ast.Name):
            return self.meaning.get(node.id, node.id if node.id in BUILTINS else None)
        if isinstance(node, ast.Attribute) and (value := self.full_name(node.value)):
            return f"{value}.{node.attr}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) > 1:
            value, attribute = self.full_name(node.args[0]), node.args[1]
            return value and f"{value}.{attribute.value if isinstance(attribute, ast.Constant) else '*'}"
        return None

    def visit(self, node):
        name = self.full_name(node) if isinstance(node, ast.expr) else None
        if name is not None and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            self.judge(name, node.lineno, also=UNLESS_WEIGHTS_ONLY)
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
            module = getattr(node, "module", None)
            for alias in node.names:
                self.judge(f"{module}.{alias.name}" if module else alias.name, node.lineno)
        elif isinstance(node, ast.Call):
            self.visit_call(node)
        else:
            self.generic_visit(node)

    def visit_call(self, node):
        name = self.full_name(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        for word, value in given.items():
            if word in ONLY_VALUE and not (isinstance(value, ast.Constant) and value.value is ONLY_VALUE[word]):
                self.found.append((f"{word}={ast.unparse(value)}", node.lineno))
        if name in UNLESS_WEIGHTS_ONLY and "weights_only" in given:
            self.judge(name, node.lineno)
        else:
            self.visit(node.func)
        for child in [*node.args, *node.keywords]:
            self.visit(child)

    def judge(self, name, line, also=frozenset()):
        words = name.split(".")
        prefixes = {".".join(words[:count]) for count in range(1, len(words) + 1)}
        # `import *` and getattr with a computed name can stand for anything in their module.
        if prefixes & (FORBIDDEN | also) or words[-1] == "*":
            self.found.append((name, line))


def unsafe(text):
    return Search(text).found


def test_nothing_in_the_packages_can_run_foreign_code():
    assert len(SOURCES) > 50
    found = {}
    for path in SOURCES:
        for name, line in unsafe(path.read_text()):
            found.setdefault(path.relative_to(ROOT).as_posix(), {}).setdefault(name, []).append(line)
    assert {path: set(names) for path, names in found.items()} == ALLOWED, found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import _pickle as fast",
        "import pickle as p; p.loads(data)",
        "from pickle import loads",
        "from pickle import loads as parse; parse(data)",
        "from pickle import *",
        "import dill",
        "from cloudpickle import load",
        "import marshal; marshal.loads(data)",
        "import shelve",
        "import joblib; joblib.load(path)",
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "import torch; torch.load(path, weights_only=safe)",
        "import torch; torch.load(path, weights_only=1)",
        "import torch; torch.load(path, **options)",
        "import torch; torch.serialization.load(path)",
        "import torch as t; t.load(path)",
        "import torch; load = torch.load; load(path)",
        "import torch; t = torch; t.load(path)",
        "import torch; map(torch.load, paths)",
        "import torch; getattr(torch, 'load')(path)",
        "import torch; getattr(torch, name)(path)",
        "from torch import load; load(path)",
        "from torch import load as read; read(path, weights_only=False)",
        "from torch.serialization import load; load(path)",
        "from torch import *",
        "import torch; torch.jit.load(path)",
        "from torch.jit import load",
        "from torch.jit._serialization import load",
        "import torch; torch.jit._serialization.load(path)",
        "import torch; torch._C.import_ir_module(unit, path)",
        "import torch; torch._C.import_ir_module_from_buffer(unit, data)",
        "import torch; torch.hub.load('owner/repo', 'model')",
        "from torch.hub import load_state_dict_from_url",
        "from torch.package import PackageImporter",
        "import torch.distributed.checkpoint as dcp; dcp.load(state)",
        "import numpy as np; np.load(path, allow_pickle=True)",
        "import numpy; numpy.load(path)",
        "from numpy import load",
        "read(path, allow_pickle=flag)",
        "import pandas as pd; pd.read_pickle(path)",
        "import yaml; yaml.load(text)",
        "import yaml; yaml.unsafe_load(text)",
        "from yaml import full_load",
        "eval(text)",
        "exec(text)",
        "run = eval; run(text)",
        "compile(text, 'a', 'exec')",
        "__import__(name)",
        "import builtins; builtins.eval(text)",
        "from builtins import exec as run",
        "__builtins__['eval'](text)",
        "globals()['eval'](text)",
        "import importlib; importlib.import_module(name)",
        "from importlib import import_module",
        "import runpy; runpy.run_path(path)",
        "import os; os.system(command)",
        "from os import system as run; run(command)",
        "import os as o; o.popen(command)",
        "import os; os.execvp(file, words)",
        "import subprocess; subprocess.getoutput(command)",
        "from subprocess import getstatusoutput",
        "import subprocess; subprocess.run(command, shell=True)",
        "import subprocess; subprocess.run(command, shell=1)",
        "import subprocess; subprocess.Popen(command, shell=flag)",
        "from subprocess import run; run(command, shell=not False)",
        "def work():\n    import os\n    return lambda text: [os.system(line) for line in text]",
    ],
)
def test_the_search_finds(text):
    assert unsafe(text)


@pytest.mark.parametrize(
    "text",
    [
        "import torch; torch.load(path, map_location='cpu', weights_only=True)",
        "from torch import load; load(path, weights_only=True)",
        "import torch; torch.compile(module).eval()",
        "import re; re.compile(pattern)",
        "import ast; ast.literal_eval(text)",
        "import json; json.load(file)",
        "import yaml; yaml.safe_load(text)",
        "import subprocess; subprocess.run([program, word], shell=False)",
        "import os; os.path.join(a, b)",
        "import torch; torch.jit.is_tracing()",
        "from .loads import load; load(path)",
        "self.exec(code.system)",
    ],
)
def test_the_search_does_not_cry_wolf(text):
    assert unsafe(text) == []
