"""Every experiment in configs/ really runs, as its tiny twin, through the same loop as the full one."""

import math

import pytest

from recognition.config import load_config
from recognition.runtime import Runtime
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.conftest import ROOT

SHARED = ("__init__", "datasets", "recipes")
EXPERIMENTS = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in SHARED)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_tiny_twin_runs(name, tmp_path):
    overrides = ["tiny=True", f"output={tmp_path / 'run'}", "max_steps=2"]
    overrides += ["export_onnx=False", "using_tensorboard=False"]
    run = train(load_config(ROOT / "configs" / f"{name}.py", overrides), Runtime())
    losses = [row["loss"] for row in read_rows(run, "train")]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    assert (run / "model.safetensors").is_file()
