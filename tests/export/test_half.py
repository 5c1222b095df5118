"""float16 files: half the bytes, float32 outside, safe where a float16 would overflow, refused where it does."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from recognition.export.agreement import GATES, agreement, embeddings_of, network_input
from recognition.export.half import half_precision, require_headroom
from recognition.export.onnx_file import ParityError, export_onnx
from recognition.export.precisions import export_precisions
from tests.export.conftest import META, pytorch
from tests.settled import faces, settled_backbone


def kinds(model):
    return {tensor.data_type for tensor in model.graph.initializer if tensor.data_type != TensorProto.INT64}


def test_every_weight_is_float16_and_input_and_output_are_not(written):
    model = onnx.load(written.path("fp16"))
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model) == {TensorProto.FLOAT16}
    ends = [*model.graph.input, *model.graph.output]
    assert [value.type.tensor_type.elem_type for value in ends] == [TensorProto.FLOAT] * 2
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in ends] == ["batch"] * 2
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert written.path("fp16").stat().st_size < 0.52 * written.path("fp32").stat().st_size


def test_embeddings_are_those_of_pytorch(written):
    images_NHWC = faces()
    found = agreement(embeddings_of(written.path("fp16"), images_NHWC), pytorch(written.module, images_NHWC))
    assert 1 - 1e-5 < found.minimum < 1 - 1e-9  # rounded, but no more than that
    assert GATES["fp16"].minimum < found.minimum


@pytest.mark.parametrize("name", ["mbf_tiny", "vit_tiny"])
def test_every_family_of_networks(tmp_path, name):
    module = settled_backbone(name)
    (file,) = export_precisions(module, tmp_path / "a.onnx", META | {"network": name}, ["fp16"])
    assert [path.name for path in tmp_path.iterdir()] == ["a-fp16.onnx"]
    onnx.checker.check_model(onnx.load(file.path), full_check=True)
    for batch in (1, 2, 7):
        found_ND = embeddings_of(file.path, faces(), batch)
        assert agreement(found_ND, pytorch(module, faces())).minimum > 1 - 1e-5


def with_huge_statistics(module):
    """The same function, but a batch norm that no convolution takes in sees values and a variance beyond float16."""
    block = module.layer3[0]
    with torch.no_grad():
        # Channel 0 of what enters layer3 is not touched: only its norm is told that it varies by 300 and not by 1.
        block.bn1.weight[0] *= 300
        block.bn1.running_var[0] = (block.bn1.running_var[0] + block.bn1.eps) * 300**2 - block.bn1.eps
    return module


def test_a_variance_beyond_float16_is_no_overflow(tmp_path):
    module = with_huge_statistics(settled_backbone("r_tiny"))
    assert float(module.layer3[0].bn1.running_var[0]) > 65504
    (file,) = export_precisions(module, tmp_path / "a.onnx", META, ["fp16"])
    assert agreement(embeddings_of(file.path, faces()), pytorch(module, faces())).minimum > 1 - 1e-5


def test_a_value_inside_beyond_float16_is_refused_although_this_cpu_would_not_notice(tmp_path):
    module = settled_backbone("r_tiny")
    images_NHWC = faces()[:4]
    largest = require_headroom(module, network_input(images_NHWC), "it")
    assert 1 < largest < 1000
    # Powers of two: the function stays bit for bit the same.
    with torch.no_grad():
        module.bn1.weight *= 2.0**14
        module.bn1.bias *= 2.0**14
        module.layer1[0].bn1.running_mean *= 2.0**14
        module.layer1[0].bn1.running_var *= 2.0**28
        module.layer1[0].downsample[0].weight *= 2.0**-14
    with pytest.raises(ParityError, match=r"^it: not written, a value inside the network is .* float16 ends at 65504"):
        require_headroom(module, network_input(images_NHWC), "it")
    with pytest.raises(ParityError, match="a-fp16.onnx: not written"):
        export_precisions(module, tmp_path / "a.onnx", META, ["fp16"])
    assert not list(tmp_path.iterdir())


def test_a_product_of_a_batch_norm_beyond_float16_is_refused():
    """A norm becomes x * scale + shift: the product may be larger than what goes in and what comes out."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2, eps=0)).eval()
    x_NCHW = np.zeros((2, 3, 4, 4), np.float32)
    with torch.no_grad():
        module[0].bias[:] = torch.tensor([0.0, -700.0])
        module[1].running_mean[1], module[1].running_var[1] = -600.0, 1e-4
    assert require_headroom(module[0], x_NCHW, "it") == 700
    assert float(module(torch.from_numpy(x_NCHW)).detach().abs().max()) == pytest.approx(10_000)
    with pytest.raises(ParityError, match=r"^it: not written, a value inside the network is 7e\+04"):
        require_headroom(module, x_NCHW, "it")


def test_nan_inside_is_an_overflow():
    module = settled_backbone("mbf_tiny")
    with torch.no_grad():
        module.layers[2].layers[0].layers[1].bias[3] = float("nan")
    with pytest.raises(ParityError, match="is inf"):
        require_headroom(module, network_input(faces()[:1]), "it")


def test_the_module_is_left_as_it_was():
    module = settled_backbone("mbf_tiny").train()
    require_headroom(module, network_input(faces()[:1]), "it")
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())


def test_conversion_is_silent_and_keeps_tiny_weights(tmp_path, capfd, recwarn):
    module = settled_backbone("mbf_tiny")
    with torch.no_grad():
        module.features.layers[2].weight[0, 0] = 1e-12
    export_onnx(module, tmp_path / "a.onnx", META)
    model = half_precision(onnx.load(tmp_path / "a.onnx"))
    assert kinds(model) == {TensorProto.FLOAT16}
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16]
    assert all(np.isfinite(weight).all() for weight in weights)
    assert capfd.readouterr() == ("", "")
    assert not [warning for warning in recwarn if "onnxruntime" in str(warning.filename)]
