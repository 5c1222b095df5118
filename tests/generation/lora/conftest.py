"""All of this needs the `generation` extra, and nothing of it the network."""

import pytest

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install -e '.[generation]'")
pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[generation]'")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
