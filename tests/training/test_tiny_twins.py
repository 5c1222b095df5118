"""Every experiment in configs/ really runs, as its tiny twin, through the same loop as the full one."""

import math
from contextlib import nullcontext

import pytest

from recognition.config import load_config
from recognition.runtime import Runtime
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.configs.experiments import EXPERIMENTS
from tests.conftest import ROOT
from tests.training.small_runs import unreported

# Verified and reported on; a config has no say in how, and it would take most of the time of all the others.
WHOLE = "glint360k_r50"


@pytest.mark.parametrize("name", [*EXPERIMENTS, "base"])
def test_tiny_twin_runs(name, tmp_path):
    overrides = ["tiny=True", f"output={tmp_path / 'run'}", "max_steps=2"]
    overrides += ["export_onnx=False", "using_tensorboard=False"]
    overrides += [] if name == WHOLE else ["val_targets=[]"]
    with nullcontext() if name == WHOLE else unreported():
        run = train(load_config(ROOT / "configs" / f"{name}.py", overrides), Runtime())
    losses = [row["loss"] for row in read_rows(run, "train")]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    assert (run / "model.safetensors").is_file()
    assert (run / "report" / "index.html").is_file() == (name == WHOLE)
