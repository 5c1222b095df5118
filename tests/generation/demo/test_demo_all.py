"""launch/demo_all.py: what has run is left alone, what has not is run, and a figure that is too low is an exit code."""

import dataclasses

import pytest

from launch import demo_all
from tests.commands import run
from tests.generation.demo.test_summary import ONE, reported


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """The commands that were run; each leaves its reports."""
    scripts = []

    def command(script, *words):
        scripts.append((script, *words))
        reported(tmp_path)

    monkeypatch.setattr(demo_all, "DEMONSTRATIONS", (ONE, dataclasses.replace(ONE, name="two", folder="second")))
    monkeypatch.setattr(demo_all, "command", command)
    return scripts


def test_what_has_not_run_is_run_once(ran, tmp_path, monkeypatch, capfd):
    words = ("--out", tmp_path, "--only", "one")
    assert run(demo_all, *words, monkeypatch=monkeypatch) == 0
    assert run(demo_all, *words, monkeypatch=monkeypatch) == 0
    assert ran == [("one.py", "--out", tmp_path / "first")]
    assert "one: has run" in capfd.readouterr().out
    assert run(demo_all, *words, "--again", monkeypatch=monkeypatch) == 0
    assert len(ran) == 2
    assert (tmp_path / "first.old-1" / "r" / "report.json").is_file()


def test_a_figure_that_is_too_low_is_an_exit_code(ran, tmp_path, monkeypatch, capfd):
    reported(tmp_path, accuracy=0.5)
    assert run(demo_all, "--out", tmp_path, "--only", "one", monkeypatch=monkeypatch) == 1
    assert "too low: one: accuracy is 0.500, and should be at least 0.800" in capfd.readouterr().out
    assert ran == []
