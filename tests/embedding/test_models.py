"""Any model behind one call: our files, arcface_torch's, and ONNX files of every layout, batch and normalisation."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from recognition.backbones import build_backbone
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.export.onnx_file import export_onnx
from recognition.weights import save_backbone
from tests.filling import fill

SIZE, DIM = 6, 5
WEIGHT = np.random.default_rng(0).normal(0, 0.1, (3 * SIZE * SIZE, DIM)).astype(np.float32)


def linear_onnx(path, *, layout="NCHW", batch="N", kind=TensorProto.FLOAT, size=(SIZE, SIZE), meta=None, rank4=False):
    """A recogniser made by hand: flatten and one matrix."""
    sides = list(size)
    shape = [batch, 3, *sides] if layout == "NCHW" else [batch, *sides, 3]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["emb"])]
    initializers = [numpy_helper.from_array(WEIGHT.astype(dtype), "w")]
    output = helper.make_tensor_value_info("emb", kind, [batch, DIM])
    if rank4:
        nodes.append(helper.make_node("Reshape", ["emb", "shape"], ["out"]))
        initializers.append(numpy_helper.from_array(np.array([-1, DIM, 1, 1]), "shape"))
        output = helper.make_tensor_value_info("out", kind, [batch, DIM, 1, 1])
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, shape)], [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if meta is not None:
        helper.set_model_props(model, {"arcscale": meta})
    onnx.save(model, path)
    return path


def pictures(count):
    """Pixel values 0 to 255 (N, 3, H, W) RGB, and what an embedder is given: the same in [-1, 1]."""
    pixels = np.random.default_rng(count).integers(0, 256, (count, 3, SIZE, SIZE)).astype(np.float32)
    return pixels, torch.from_numpy((pixels - 127.5) / 127.5)


def expected(pixels, *, mean=127.5, std=127.5, bgr=False, layout="NCHW"):
    pixels = (pixels[:, ::-1] if bgr else pixels).astype(np.float64)
    pixels = pixels if layout == "NCHW" else pixels.transpose(0, 2, 3, 1)
    return ((pixels - mean) / std).reshape(len(pixels), -1) @ WEIGHT


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("rank4", [False, True])
def test_every_layout_and_batch(tmp_path, layout, batch, rank4):
    model = open_embedder(linear_onnx(tmp_path / "a.onnx", layout=layout, batch=batch, rank4=rank4))
    assert model.size == (SIZE, SIZE)
    for count in (1, 4, 6):
        pixels, x = pictures(count)
        found = model(x)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected(pixels, layout=layout), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("kind", "atol"), [(TensorProto.FLOAT16, 2e-2), (TensorProto.DOUBLE, 2e-6)])
def test_other_float_types(tmp_path, kind, atol):
    pixels, x = pictures(3)
    found = open_embedder(linear_onnx(tmp_path / "a.onnx", kind=kind))(x)
    np.testing.assert_allclose(found.numpy(), expected(pixels), rtol=0, atol=atol)


@pytest.mark.parametrize(
    "options",
    [
        {"bgr": True},
        {"mean": 0.0, "std": 1.0},
        {"mean": 127.5, "std": 128.0},
        {"bgr": True, "mean": 100.0, "std": 50.0},
    ],
)
def test_the_normalisation_asked_for_is_what_the_model_sees(tmp_path, options):
    pixels, x = pictures(3)
    model = open_embedder(linear_onnx(tmp_path / "a.onnx"), **options)
    wanted = expected(pixels, **options)
    np.testing.assert_allclose(model(x).numpy(), wanted, rtol=0, atol=2e-6 * max(1, np.abs(wanted).max()))


def test_metadata_of_the_file_is_used_unless_overruled(tmp_path):
    meta = json.dumps({"network": "mine", "channel_order": "BGR", "mean": 10.0, "std": 20.0})
    path = linear_onnx(tmp_path / "a.onnx", meta=meta)
    pixels, x = pictures(3)
    model = open_embedder(path)
    np.testing.assert_allclose(model(x).numpy(), expected(pixels, bgr=True, mean=10, std=20), rtol=0, atol=2e-5)
    assert model.facts["network"] == "mine"
    overruled = open_embedder(path, bgr=False, mean=127.5, std=127.5)
    np.testing.assert_allclose(overruled(x).numpy(), expected(pixels), rtol=0, atol=2e-6)


def test_our_own_files_agree_in_all_three_forms(tmp_path):
    module = build_backbone("mbf_tiny", 16)
    with torch.no_grad():
        fill(module)
    meta = {"network": "mbf_tiny", "embedding_size": 16, "image_size": 112}
    save_backbone(tmp_path / "model.safetensors", module, meta)
    save_backbone(tmp_path / "model.pt", module, meta)
    export_onnx(module, tmp_path / "model.onnx", meta)
    x = torch.rand(3, 3, 112, 112) * 2 - 1
    with torch.inference_mode():
        reference = module.eval()(x)
    shas = set()
    for name in ("", "model.safetensors", "model.pt", "model.onnx"):
        model = open_embedder(tmp_path / name)
        with torch.inference_mode():
            torch.testing.assert_close(model(x), reference, rtol=0, atol=2e-5 * float(reference.abs().max()))
        assert model.size == (112, 112)
        shas.add(model.facts["sha256"])
    assert len(shas) == 1


def test_a_size_that_does_not_fit_is_an_error(tmp_path):
    model = open_embedder(linear_onnx(tmp_path / "a.onnx"))
    model.require_size(SIZE, SIZE, "lfw.bin")
    with pytest.raises(InputError, match=r"lfw\.bin has pictures of 8x6 pixels, but .*a\.onnx takes 6x6"):
        model.require_size(6, 8, "lfw.bin")
    free = open_embedder(linear_onnx(tmp_path / "b.onnx", size=("h", "w")))
    assert free.size is None
    free.require_size(6, 8, "lfw.bin")


def test_what_is_no_recogniser_is_refused(tmp_path, shared_dir):
    with pytest.raises(InputError, match="is it a recogniser|not one embedding each|expected pictures"):
        open_embedder(shared_dir / "models" / "yunet_n_dynamic.onnx")(torch.zeros(1, 3, 64, 64))


def test_wrong_files_are_named(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="not a model that ONNX Runtime can run"):
        open_embedder(tmp_path / "a.onnx")
    with pytest.raises(InputError, match="does not exist"):
        open_embedder(tmp_path / "b.onnx")
    with pytest.raises(InputError, match="expected pictures"):
        open_embedder(linear_onnx(tmp_path / "c.onnx", size=(SIZE * SIZE,)))
    with pytest.raises(InputError, match="--std 0"):
        open_embedder(linear_onnx(tmp_path / "d.onnx"), std=0.0)
    with pytest.raises(InputError, match="metadata is not"):
        open_embedder(linear_onnx(tmp_path / "e.onnx", meta="{"))
