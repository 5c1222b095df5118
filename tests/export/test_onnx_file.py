"""ONNX files: any batch, equal to PyTorch, described by their metadata, and refused when they differ."""

import contextlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.onnx.operators import shape_as_tensor

import recognition.export.onnx_file
from recognition.errors import InputError
from recognition.export.onnx_file import Form, ParityError, export_network, export_onnx, require_exportable
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

    def __init__(self, drift, batch=None):
        super().__init__()
        self.drift, self.batch = drift, batch
        self.out = nn.Linear(3, 4)

    def forward(self, x_BCHW):
        emb_BD = self.out(x_BCHW.mean((2, 3)))
        if not torch.jit.is_tracing():
            return emb_BD
        wrong = 1.0 if self.batch is None else (shape_as_tensor(x_BCHW)[0] == self.batch).float()
        return emb_BD * (1 + wrong * self.drift)


@pytest.mark.parametrize("drift", [1e-3, 1e-4, 3e-5, float("nan")])
def test_a_file_that_differs_is_refused_and_removed(tmp_path, drift):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"the one before")
    with pytest.raises(ParityError, match="differs from PyTorch"):
        export_onnx(Drifting(drift), path, {"image_size": 16})
    assert path.read_bytes() == b"the one before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_file_that_is_wrong_at_one_batch_only_is_refused(tmp_path, batch):
    with pytest.raises(ParityError, match=f"differs from PyTorch by .* at batch {batch};"):
        export_onnx(Drifting(0.5, batch), tmp_path / "a.onnx", {"image_size": 16})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("drift", [0.0, 1e-5])
def test_the_difference_above_is_the_only_reason(tmp_path, drift):
    difference = export_onnx(Drifting(drift), tmp_path / "a.onnx", {"image_size": 16})
    assert difference == pytest.approx(drift, abs=1e-6)  # float32 sums in another order
    model = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]


def test_half_precision_weights_become_float32_in_the_file_only(tmp_path):
    module = Drifting(0.0).bfloat16()
    export_onnx(module, tmp_path / "a.onnx", {"image_size": 16})
    model = onnx.load(tmp_path / "a.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    kinds |= {value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]}
    assert kinds == {onnx.TensorProto.FLOAT}
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(weights["out.bias"], module.out.bias.detach().float().numpy())
    assert module.out.weight.dtype == torch.bfloat16


class FixedBatch(nn.Module):
    """Bakes the batch of the example into the file, as arcface_torch's mbf does (insightface#2406)."""

    def forward(self, x_BCHW):
        return x_BCHW.mean((2, 3)).reshape(int(x_BCHW.shape[0]), 3) if torch.jit.is_tracing() else x_BCHW.mean((2, 3))


def test_a_baked_batch_is_refused(tmp_path):
    with pytest.raises(ParityError, match="at batch 1"):
        export_onnx(FixedBatch(), tmp_path / "a.onnx", {"image_size": 16})
    assert not list(tmp_path.iterdir())


def test_weights_beyond_the_limit_of_the_format_are_refused_before_work(tmp_path, monkeypatch):
    monkeypatch.setattr(recognition.export.onnx_file, "MAX_PROTOBUF_BYTES", 1000)
    with pytest.raises(InputError, match="at most 2 GiB"):
        export_onnx(filled_backbone("mbf_tiny"), tmp_path / "a.onnx", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_2_gib_of_float32_do_not_fit(kind):
    with torch.device("meta"):
        fits, does_not = (nn.Linear(2**15, width, bias=False, dtype=kind) for width in (2**14 - 1, 2**14))
    require_exportable(fits, "model.pt")
    with pytest.raises(InputError, match=r"^model\.pt: the weights have 2\.0 GiB, but"):
        require_exportable(does_not, "model.pt")


def test_the_module_keeps_its_memory_format(tmp_path):
    module = filled_backbone("mbf_tiny").to(memory_format=torch.channels_last)
    export_onnx(module, tmp_path / "a.onnx", {})
    assert module.state_dict()["layers.0.layers.0.weight"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("opset", [11, 17])
def test_the_opset_is_the_one_that_was_asked_for(tmp_path, opset):
    assert export_onnx(filled_backbone("mbf_tiny"), tmp_path / "a.onnx", {"image_size": 112}, opset=opset) < 2e-5
    model = onnx.load(tmp_path / "a.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]


def test_a_network_that_has_no_form_in_an_opset_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.onnx: not written, this network has no form in opset 11"):
        export_onnx(filled_backbone("vit_tiny"), tmp_path / "a.onnx", {"image_size": 112}, opset=11)
    assert not list(tmp_path.iterdir())


class TwoHeads(nn.Module):
    """Two inputs, two outputs, one of which may drift when it is traced."""

    def __init__(self, drift=0.0):
        super().__init__()
        self.drift, self.weight = drift, nn.Parameter(torch.tensor([2.0]))

    def forward(self, a_BN, b_BN):
        return a_BN * self.weight + b_BN, b_BN - a_BN + (self.drift if torch.jit.is_tracing() else 0)


FORM = Form(
    inputs={"a": {0: "batch", 1: "length"}, "b": {0: "batch", 1: "length"}},
    outputs={"sum": {0: "batch", 1: "length"}, "difference": {0: "batch", 1: "length"}},
    tolerance=1e-3,
    relative=False,
)
FEEDS = [{name: np.full((batch, 3), batch + place, np.float32) for place, name in enumerate("ab")} for batch in (2, 7)]


def test_several_inputs_and_outputs_by_their_names(tmp_path):
    assert export_network(TwoHeads(), tmp_path / "a.onnx", {"kind": "two"}, FORM, FEEDS[0], FEEDS) == 0
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    assert [entry.name for entry in session.get_inputs()] == ["a", "b"]
    found = session.run(["difference", "sum"], {"b": np.ones((3, 5), np.float32), "a": np.full((3, 5), 4, np.float32)})
    assert [np.unique(each).tolist() for each in found] == [[-3.0], [9.0]]
    assert json.loads(session.get_modelmeta().custom_metadata_map["arcscale"])["kind"] == "two"


@pytest.mark.parametrize(("drift", "is_kept"), [(0.9e-3, True), (1.1e-3, False)])
def test_each_output_is_compared_and_absolutely_where_it_says_so(tmp_path, drift, is_kept):
    large = [{name: value * np.float32(100) for name, value in feed.items()} for feed in FEEDS]
    expected = contextlib.nullcontext() if is_kept else pytest.raises(ParityError, match=r"1\.1e-03 \(absolute\)")
    with expected:
        export_network(TwoHeads(drift), tmp_path / "a.onnx", {}, FORM, FEEDS[0], large)
    assert (tmp_path / "a.onnx").is_file() is is_kept
