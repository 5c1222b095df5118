"""All of this needs the `generation` extra, and nothing of it the network."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def generation_extra():
    for name in ("diffusers", "peft"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install -e '.[generation]'")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder for runs, in which the drawn people lie, too: encoded once for all tests that do not change them."""
    return tmp_path_factory.mktemp("lora")
