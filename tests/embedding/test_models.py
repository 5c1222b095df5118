"""Any model behind one call: our files, arcface_torch's, and ONNX files of every layout, batch and normalisation."""

import json

import numpy as np
import pytest
import torch
from onnx import TensorProto

from recognition.backbones import build_backbone
from recognition.embedding.models import Embedder, open_embedder
from recognition.embedding.preprocess import parse_preprocess
from recognition.errors import InputError
from recognition.export.onnx_file import export_onnx
from recognition.weights import save_backbone
from tests.embedding.linear_onnx import SIZE, expected, linear_onnx, pictures
from tests.filling import fill


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


def test_flags_go_before_the_recipe_and_that_before_the_metadata(tmp_path):
    path = linear_onnx(tmp_path / "a.onnx", meta=json.dumps({"channel_order": "BGR", "mean": 10.0, "std": 20.0}))
    pixels, x = pictures(3)
    for options, wanted in (
        ({}, {"bgr": True, "mean": 10, "std": 20}),
        ({"preprocess": "rgb"}, {"mean": 10, "std": 20}),
        ({"preprocess": "unit"}, {"mean": 0, "std": 255}),
        ({"preprocess": "unit", "bgr": True}, {"bgr": True, "mean": 0, "std": 255}),
        ({"preprocess": "unit", "std": 100.0}, {"mean": 0, "std": 100}),
        (
            {"preprocess": "unit,bgr", "bgr": False, "mean": [1, 2, 3]},
            {"mean": np.reshape([1, 2, 3], (3, 1, 1)), "std": 255},
        ),
    ):
        found = open_embedder(path, **options)(x).numpy()
        np.testing.assert_allclose(found, expected(pixels, **wanted), rtol=0, atol=2e-5)


def test_where_the_normalisation_is_from_is_said(tmp_path):
    plain = linear_onnx(tmp_path / "a.onnx")
    stored = linear_onnx(tmp_path / "b.onnx", meta=json.dumps({"mean": 10.0, "std": 20.0}))
    assert open_embedder(plain).facts["normalisation_from"] == "default"
    assert open_embedder(plain, preprocess="bgr").facts["normalisation_from"] == "default"
    assert open_embedder(plain, preprocess="raw").facts["normalisation_from"] == "given"
    assert open_embedder(plain, std=1.0).facts["normalisation_from"] == "given"
    assert open_embedder(stored).facts["normalisation_from"] == "metadata"
    torch.save(build_backbone("mbf_tiny", 16).state_dict(), tmp_path / "c.pth")
    assert open_embedder(tmp_path / "c.pth").facts["normalisation_from"] == "default"


def test_pictures_of_another_size_are_resized_on_request(tmp_path):
    model = open_embedder(linear_onnx(tmp_path / "a.onnx"), preprocess=f"size={SIZE}")
    model.require_size(9, 9, "lfw.bin")
    assert model.size is None
    assert (model.facts["resized_to"], model.facts["input_size"]) == (SIZE, [SIZE, SIZE])
    grey = torch.full((2, 3, 9, 9), 0.25)
    expected_grey = expected(np.full((2, 3, SIZE, SIZE), 127.5 * 1.25))
    np.testing.assert_allclose(model(grey).numpy(), expected_grey, rtol=0, atol=2e-6)
    with pytest.raises(InputError, match=r"a\.onnx takes 6x6 pixels; resizing to 7"):
        open_embedder(tmp_path / "a.onnx", preprocess="size=7")
    with pytest.raises(InputError, match="--preprocess size=6"):
        open_embedder(tmp_path / "a.onnx").require_size(9, 9, "lfw.bin")


def test_the_same_network_can_be_fed_otherwise(tmp_path):
    pixels, x = pictures(3)
    model = open_embedder(linear_onnx(tmp_path / "a.onnx"))
    other = model.fed(parse_preprocess("unit,bgr"))
    np.testing.assert_allclose(other(x).numpy(), expected(pixels, bgr=True, mean=0, std=255), rtol=0, atol=2e-6)
    assert other.facts["channel_order"] == "BGR"
    np.testing.assert_allclose(model(x).numpy(), expected(pixels), rtol=0, atol=2e-6)
    with pytest.raises(InputError, match="bare function"):
        Embedder(abs, None).fed(parse_preprocess("unit"))
