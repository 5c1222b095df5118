"""Where numbers go: JSON that stays JSON, and a wandb key that goes to wandb alone."""

import json
import math
import sys
import types

import pytest

from recognition.errors import InputError
from recognition.training.metrics import MetricsWriter, read_rows
from recognition.training.plan import Plan
from tests.training.linear_backbone import config

PLAN = Plan(0, 9, 9, 0, samples=0, samples_a_step=8)


def test_non_finite_numbers_are_null(tmp_path):
    with MetricsWriter(tmp_path, config(using_tensorboard=False), plan=PLAN) as metrics:
        metrics.write("train", 3, loss=math.inf, lr=0.1, nested={"0.1": math.nan})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "kind": "train", "step": 3, "samples": 24, "loss": None, "lr": 0.1, "nested": {"0.1": None},
    }  # fmt: skip


def test_the_other_ranks_write_nothing(tmp_path):
    with MetricsWriter(None, config(), plan=PLAN) as metrics:
        metrics.write("train", 1, loss=1.0)
    assert list(tmp_path.iterdir()) == []


class FakeWandb(types.ModuleType):
    """The few calls of wandb's client that a run makes, remembered."""

    def __init__(self):
        super().__init__("wandb")
        self.calls = []

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            return self

        return call


def test_wandb_gets_the_numbers_and_the_key_only_at_login(tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    cfg = config(using_wandb=True, wandb_key="secret-key", using_tensorboard=False, wandb_project="faces")
    with MetricsWriter(tmp_path, cfg, plan=PLAN) as metrics:
        metrics.write("verification", 5, target="lfw", accuracy=0.9, tar_at_far={"0.1": 1.0})
    calls = {name: (args, kwargs) for name, args, kwargs in wandb.calls}
    assert calls["login"] == ((), {"key": "secret-key"})
    assert calls["init"][1]["project"] == "faces"
    assert calls["log"] == (({"verification/lfw/accuracy": 0.9},), {"step": 5})
    assert "finish" in calls
    others = [call for call in wandb.calls if call[0] != "login"]
    assert "secret-key" not in repr(others)
    assert "secret-key" not in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_missing_wandb_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[wandb\]'"):
        MetricsWriter(tmp_path, config(using_wandb=True, using_tensorboard=False), plan=PLAN)


def test_rows_are_read_back_by_kind(tmp_path):
    with MetricsWriter(tmp_path, config(using_tensorboard=False), plan=PLAN) as metrics:
        for step in (1, 2):
            metrics.write("train", step, loss=float(step))
            metrics.write("verification", step, target="lfw", accuracy=0.5)
    assert [row["loss"] for row in read_rows(tmp_path, "train")] == [1.0, 2.0]
