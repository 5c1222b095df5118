"""One network in each precision, written once for all tests of this room."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recognition.export.calibration import Calibration, open_calibration
from recognition.export.precisions import Exported, export_precisions
from tests.settled import settled_backbone

META = {"network": "r_tiny", "embedding_size": 32, "image_size": 112, "step": 7, "accuracy": {"lfw": 0.5}}


@dataclass(frozen=True)
class Written:
    """The network, its files by precision, and the pictures it was calibrated with."""

    module: nn.Module
    files: dict[str, Exported]
    calibration: Calibration

    def path(self, precision: str) -> Path:
        return self.files[precision].path


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return open_calibration("synthetic", count=32)


@pytest.fixture(scope="session")
def written(tmp_path_factory, calibration) -> Written:
    torch.set_num_threads(1)
    module = settled_backbone("r_tiny")
    out = tmp_path_factory.mktemp("precisions") / "a.onnx"
    meta = {**META, "file": "/home/someone/runs/first/model.safetensors", "run": "/home/someone/runs/first"}
    files = export_precisions(module, out, meta, ("int8", "fp32", "fp16"), calibration)
    return Written(module, {file.precision: file for file in files}, calibration)


def pytorch(module: nn.Module, images_NHWC: np.ndarray) -> np.ndarray:
    """What the network itself makes of uint8 pictures, without any of our code in between."""
    x_NCHW = (images_NHWC.astype(np.float32).transpose(0, 3, 1, 2) - 127.5) / 127.5
    with torch.inference_mode():
        return module(torch.from_numpy(x_NCHW)).numpy()
