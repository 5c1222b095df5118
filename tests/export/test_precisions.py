"""Several precisions in one go: names, order, what is refused, what stays when one is, and nothing of this machine."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import recognition.export.precisions as precisions
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.export.agreement import Gate, embeddings_of
from recognition.export.onnx_file import ParityError
from recognition.export.precisions import export_precisions, path_of, require_possible
from recognition.weights import plain_state, weights_sha256
from tests.export.conftest import META, pytorch
from tests.settled import faces, settled_backbone


def stored(path):
    return json.loads(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["arcscale"])


def test_files_are_named_by_precision_and_written_in_their_order(written, tmp_path):
    assert list(written.files) == ["fp32", "fp16", "int8"]
    folder = written.path("fp32").parent
    assert sorted(path.name for path in folder.iterdir()) == ["a-fp16.onnx", "a-int8.onnx", "a.onnx"]
    assert path_of(tmp_path / "b.c.onnx", "int8") == tmp_path / "b.c-int8.onnx"


def test_what_is_returned_is_what_was_measured(written):
    assert written.files["fp32"].difference < 2e-5
    images_NHWC = written.calibration.checked_NHWC
    wanted_ND = pytorch(written.module, images_NHWC).astype(np.float64)
    for precision in ("fp16", "int8"):
        emb_ND = embeddings_of(written.path(precision), images_NHWC).astype(np.float64)
        cosines = (emb_ND * wanted_ND).sum(1) / np.linalg.norm(emb_ND, axis=1) / np.linalg.norm(wanted_ND, axis=1)
        found = written.files[precision].agreement
        assert (found.mean, found.minimum) == pytest.approx((cosines.mean(), cosines.min()), abs=1e-6)
        assert stored(written.path(precision))["agreement"] == found.facts()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_metadata_go_along_and_name_no_place(written, precision):
    meta = stored(written.path(precision))
    kept = ("network", "embedding_size", "image_size", "step")
    assert {key: meta[key] for key in kept} == {key: META[key] for key in kept}
    assert (meta["channel_order"], meta["mean"], meta["std"]) == ("RGB", 127.5, 127.5)
    assert meta.get("precision", "fp32") == precision
    sha256 = weights_sha256(plain_state(written.module))
    assert (meta if precision == "fp32" else meta["source"])["sha256"] == sha256
    assert b"someone" not in written.path(precision).read_bytes()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_opener_of_any_model_takes_them(written, precision):
    model = open_embedder(written.path(precision))
    x_BCHW = torch.from_numpy(faces()[:3].astype(np.float32).transpose(0, 3, 1, 2) - 127.5) / 127.5
    expected_BD = embeddings_of(written.path(precision), faces()[:3])
    np.testing.assert_allclose(model(x_BCHW).numpy(), expected_BD, rtol=1e-4, atol=1e-4)
    assert (model.size, model.facts["precision"]) == ((112, 112), precision)


def test_one_that_fails_its_gate_leaves_no_file_and_those_before_it_stay(tmp_path, monkeypatch, calibration):
    module = settled_backbone("mbf_tiny")
    monkeypatch.setattr(precisions, "GATES", precisions.GATES | {"int8": Gate(0.99999, 0.99999)})
    (tmp_path / "a-int8.onnx").write_bytes(b"the one before")
    told = []
    with pytest.raises(ParityError, match=r"a-int8\.onnx: not written"):
        export_precisions(module, tmp_path / "a.onnx", META, ["fp32", "int8"], calibration, tell=told.append)
    assert [file.path for file in told] == [tmp_path / "a.onnx"]
    assert (tmp_path / "a-int8.onnx").read_bytes() == b"the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-int8.onnx", "a.onnx"]
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"))


def test_int8_without_pictures_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"int8 needs pictures .* --calibrate"):
        export_precisions(settled_backbone("mbf_tiny"), tmp_path / "a.onnx", META, ["fp32", "int8"])
    assert not list(tmp_path.iterdir())


def test_an_unknown_precision_is_named():
    with pytest.raises(InputError, match="int4 is not known; there are fp32, fp16, int8"):
        require_possible(["fp32", "int4"], calibrated=True)
