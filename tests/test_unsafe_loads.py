"""Nothing in the packages can execute what a user downloaded: the calls that could are not there at all."""

import ast

import pytest

from tests.conftest import ROOT

FORBIDDEN = {"pickle.load", "pickle.loads", "pickle.Unpickler", "eval", "exec", "os.system", "numpy.load", "np.load"}
FORBIDDEN |= {"torch.distributed.checkpoint.load", "dcp.load", "marshal.loads", "yaml.load", "joblib.load"}
PACKAGES = ("recognition", "generation", "launch", "configs")
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def unsafe_calls(text):
    """Name and line of every call that can run foreign code."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if (
            name in FORBIDDEN
            or keywords.get("shell") == "True"
            or keywords.get("allow_pickle") == "True"
            or (name == "torch.load" and keywords.get("weights_only") != "True")
        ):
            yield name, node.lineno


def test_no_unsafe_call_in_the_packages():
    assert len(SOURCES) > 50
    found = [(str(path.relative_to(ROOT)), *call) for path in SOURCES for call in unsafe_calls(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "pickle.loads(data)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(command, shell=True)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_the_search_finds_them(line):
    assert list(unsafe_calls(line))
