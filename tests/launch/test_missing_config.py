"""A command without its config says that this is missing, and not that overrides are."""

import pytest

from launch import lora, train
from tests.commands import run


@pytest.mark.parametrize("command", [lora, train])
def test_overrides_are_not_required(command, monkeypatch, capfd):
    assert run(command, monkeypatch=monkeypatch) == 2
    *_, line = capfd.readouterr().err.splitlines()
    assert "required: config" in line
    assert "key=value" not in line
