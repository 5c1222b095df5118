"""int8 files: what is stored in 8 bits, ranges from the pictures that were given, and the same file every time."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from recognition.export.agreement import agreement, embeddings_of, network_input
from recognition.export.int8 import QUANTISED, eight_bits
from recognition.export.precisions import export_precisions
from tests.export.conftest import META, pytorch
from tests.settled import faces, settled_backbone


@pytest.fixture(scope="module")
def model(written):
    return onnx.load(written.path("int8"))


def constants(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def weights_of(model):
    """(integers, scales, zero points, axis) of each quantised layer's weights."""
    stored, made_by = constants(model), {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in QUANTISED:
            source = made_by[node.input[1]]
            assert source.op_type == "DequantizeLinear"
            axis = next((entry.i for entry in source.attribute if entry.name == "axis"), None)
            yield node, *(stored[name] for name in source.input), axis


def test_every_layer_has_8_bit_weights_of_7_bits_with_a_scale_per_channel(written, model):
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    layers = list(weights_of(model))
    assert len(layers) == sum(node.op_type in QUANTISED for node in onnx.load(written.path("fp32")).graph.node) == 14
    for node, values, scales, zeros, axis in layers:
        assert values.dtype == np.int8
        assert 60 <= np.abs(values.astype(int)).max() <= 64, node.name
        assert scales.shape == zeros.shape == (values.shape[axis],)
        assert not zeros.any()
    assert written.path("int8").stat().st_size < 0.36 * written.path("fp32").stat().st_size


def test_weights_are_the_nearest_integers(written, model):
    first = written.module.conv1.weight
    norm = written.module.bn1
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(-1, 1, 1, 1)
    folded = (first * scale).detach().numpy()  # a batch norm behind a layer is part of it
    _, values, scales, _, axis = next(iter(weights_of(model)))
    assert (axis, values.shape) == (0, folded.shape)
    scales = scales.reshape(-1, 1, 1, 1)
    assert np.abs(values * scales - folded).max() <= 0.5001 * scales.max()
    np.testing.assert_allclose(scales.ravel() * 64, np.abs(folded).max((1, 2, 3)), rtol=0.02)


def test_ranges_are_the_smallest_and_largest_values_that_occurred(written, model):
    stored = constants(model)
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    assert first.input[0] == "input"
    scale, zero = float(stored[first.input[1]]), int(stored[first.input[2]])
    x = network_input(written.calibration.images_NHWC)
    low, high = float(x.min()), float(x.max())
    assert scale == pytest.approx((high - low) / 255, rel=1e-5)
    assert (-128 - zero) * scale == pytest.approx(low, abs=scale)
    assert (127 - zero) * scale == pytest.approx(high, abs=scale)


def test_other_pictures_make_other_ranges(written, tmp_path):
    dark = written.calibration.images_NHWC // 8
    again = eight_bits(written.path("fp32"), dark, tmp_path)
    first = next(node for node in again.graph.node if node.input[0] == "input")
    # A range holds zero, so that zero is exact: from black, -1, up to it.
    assert float(constants(again)[first.input[1]]) == pytest.approx(-network_input(dark).min() / 255, rel=1e-5)


def test_the_same_pictures_make_the_same_file(written, tmp_path):
    export_precisions(written.module, tmp_path / "a.onnx", META, ["int8"], written.calibration)
    assert (tmp_path / "a-int8.onnx").read_bytes() == written.path("int8").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a-int8.onnx"]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_embeddings_of_pictures_that_were_not_calibrated_with_are_near_those_of_pytorch(written, batch):
    images_NHWC = faces()
    found_ND = embeddings_of(written.path("int8"), images_NHWC, batch)
    found = agreement(found_ND, pytorch(written.module, images_NHWC))
    assert (found.mean > 0.98, found.minimum > 0.95) == (True, True), found
    assert found.minimum < 0.9999  # it is 8 bits that were measured


def test_vision_transformers_too(tmp_path, calibration):
    module = settled_backbone("vit_tiny")
    (file,) = export_precisions(module, tmp_path / "a.onnx", META, ["int8"], calibration)
    kinds = {tensor.data_type for tensor in onnx.load(file.path).graph.initializer}
    assert TensorProto.INT8 in kinds
    assert agreement(embeddings_of(file.path, faces()), pytorch(module, faces())).minimum > 0.95


def test_the_file_says_how_it_came_to_be(written):
    session = onnxruntime.InferenceSession(written.path("int8"))
    stored = json.loads(session.get_modelmeta().custom_metadata_map["arcscale"])
    fp32 = onnxruntime.InferenceSession(written.path("fp32")).get_modelmeta().custom_metadata_map
    assert stored["calibration"].pop("data_sha256") is not None
    assert stored["calibration"] == {"set": "synthetic", "pictures": 32}
    assert stored["source"] == {"sha256": json.loads(fp32["arcscale"])["sha256"], "accuracy": {"lfw": 0.5}}
    assert stored["precision"] == "int8"
    assert "min-max" in stored["quantisation"]
    assert stored["agreement"]["pictures"] == len(written.calibration.checked_NHWC)
    assert not {"sha256", "accuracy"} & set(stored)  # these are not this file's
