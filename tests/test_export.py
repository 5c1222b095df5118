"""ONNX files: any batch, equal to PyTorch, described by their metadata, and refused when they differ."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import recognition.export
from recognition.errors import InputError
from recognition.export import ParityError, export_onnx
from recognition.weights import plain_state, weights_sha256
from tests.filling import filled_backbone


@pytest.mark.parametrize("name", ["r_tiny", "mbf_tiny", "vit_tiny", "mbf", "r18", "vit_t"])
def test_any_batch_agrees_with_pytorch(tmp_path, name, capfd):
    module = filled_backbone(name).train()
    meta = {"network": name, "image_size": 112, "step": 3}
    difference = export_onnx(module, tmp_path / "a.onnx", meta)
    assert difference < 2e-5
    assert module.training
    assert capfd.readouterr() == ("", "")  # a user sees one line, and the command writes it
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 112, 112]
    assert session.get_outputs()[0].shape[0] == "batch"
    x = np.random.default_rng(1).uniform(-1, 1, (5, 3, 112, 112)).astype(np.float32)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(x)).numpy()
    found = session.run(None, {"input": x})[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    stored = json.loads(session.get_modelmeta().custom_metadata_map["arcscale"])
    description = {"channel_order": "RGB", "mean": 127.5, "std": 127.5}
    assert stored == {**description, **meta, "sha256": weights_sha256(plain_state(module))}
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


class Drifting(nn.Module):
    """Computes something else when it is traced than when it is run."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset
        self.out = nn.Linear(3, 4)

    def forward(self, x_BCHW):
        emb_BD = self.out(x_BCHW.mean((2, 3)))
        return emb_BD + self.offset if torch.jit.is_tracing() else emb_BD


@pytest.mark.parametrize("offset", [1e-3, float("nan")])
def test_a_file_that_differs_is_refused_and_removed(tmp_path, offset):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"the one before")
    with pytest.raises(ParityError, match="differs from PyTorch"):
        export_onnx(Drifting(offset), path, {"image_size": 16})
    assert path.read_bytes() == b"the one before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.onnx"]


def test_the_difference_above_is_the_only_reason(tmp_path):
    export_onnx(Drifting(0.0), tmp_path / "a.onnx", {"image_size": 16})
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"))


class FixedBatch(nn.Module):
    """Bakes the batch of the example into the file, as arcface_torch's mbf does (insightface#2406)."""

    def forward(self, x_BCHW):
        return x_BCHW.mean((2, 3)).reshape(int(x_BCHW.shape[0]), 3) if torch.jit.is_tracing() else x_BCHW.mean((2, 3))


def test_a_baked_batch_is_refused(tmp_path):
    with pytest.raises(ParityError, match="at batch 1"):
        export_onnx(FixedBatch(), tmp_path / "a.onnx", {"image_size": 16})
    assert not list(tmp_path.iterdir())


def test_weights_beyond_the_limit_of_the_format_are_refused_before_work(tmp_path, monkeypatch):
    monkeypatch.setattr(recognition.export, "MAX_PROTOBUF_BYTES", 1000)
    with pytest.raises(InputError, match="at most 2 GiB"):
        export_onnx(filled_backbone("mbf_tiny"), tmp_path / "a.onnx", {})
    assert not list(tmp_path.iterdir())


def test_the_module_keeps_its_memory_format(tmp_path):
    module = filled_backbone("mbf_tiny").to(memory_format=torch.channels_last)
    export_onnx(module, tmp_path / "a.onnx", {})
    assert module.state_dict()["layers.0.layers.0.weight"].is_contiguous(memory_format=torch.channels_last)
