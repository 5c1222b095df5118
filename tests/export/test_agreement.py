"""Cosines as numpy and scikit-learn have them, and a gate that lets nothing through that is below it."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sklearn.metrics.pairwise import cosine_similarity

from recognition.export.agreement import (
    GATES,
    Agreement,
    Gate,
    agreement,
    cosines,
    embeddings_of,
    network_input,
    require_agreement,
)
from recognition.export.onnx_file import ParityError
from tests.export.conftest import pytorch
from tests.settled import faces


def test_cosines_are_those_of_scikit_learn():
    a_ND, b_ND = np.random.default_rng(0).normal(size=(2, 50, 8)).astype(np.float32)
    np.testing.assert_allclose(cosines(a_ND, b_ND), np.diag(cosine_similarity(a_ND, b_ND)), rtol=0, atol=1e-6)
    found = agreement(a_ND, b_ND)
    expected = np.diag(cosine_similarity(a_ND.astype(np.float64), b_ND.astype(np.float64)))
    assert (found.mean, found.minimum) == pytest.approx((expected.mean(), expected.min()), abs=1e-12)
    assert found.pictures == 50


def test_what_has_no_direction_has_no_cosine():
    a_ND = np.ones((3, 4), np.float32)
    b_ND = np.array([[0] * 4, [np.nan] * 4, [1] * 4], np.float32)
    assert np.isnan(cosines(a_ND, b_ND)).tolist() == [True, True, False]
    assert np.isnan(agreement(a_ND, b_ND).minimum)


def test_pictures_are_scaled_as_training_scales_them(written):
    images_NHWC = faces()[:3]
    expected = (images_NHWC.astype(np.float64).transpose(0, 3, 1, 2) - 127.5) / 127.5
    np.testing.assert_allclose(network_input(images_NHWC), expected, rtol=0, atol=1e-7)
    found_ND = embeddings_of(written.path("fp32"), images_NHWC, batch_size=2)
    expected_ND = pytorch(written.module, images_NHWC)
    np.testing.assert_allclose(found_ND, expected_ND, rtol=0, atol=2e-5 * np.abs(expected_ND).max())


def at_cosines(emb_ND, cosines_N):
    """For each row a vector of another length at exactly that cosine to it."""
    other_ND = np.random.default_rng(1).normal(size=emb_ND.shape)
    unit_ND = emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)
    other_ND -= (other_ND * unit_ND).sum(1, keepdims=True) * unit_ND
    other_ND /= np.linalg.norm(other_ND, axis=1, keepdims=True)
    cosines_N1 = np.array(cosines_N)[:, None]
    return 3 * (cosines_N1 * unit_ND + np.sqrt(1 - cosines_N1**2) * other_ND)


@pytest.mark.parametrize(
    ("gate", "passes"),
    [
        (Gate(0.7999, 0.5999), True),
        (Gate(0.8001, 0.5), False),
        (Gate(0.7, 0.6001), False),
    ],
)
def test_the_gate_is_the_mean_and_the_smallest(written, gate, passes):
    images_NHWC = faces()[:10]
    wanted_ND = at_cosines(embeddings_of(written.path("fp32"), images_NHWC), [0.6] * 5 + [1.0] * 5)
    if passes:
        found = require_agreement(written.path("fp32"), wanted_ND, images_NHWC, gate, "it")
        assert (found.mean, found.minimum, found.pictures) == (pytest.approx(0.8), pytest.approx(0.6), 10)
    else:
        with pytest.raises(ParityError, match=r"^it: not written, .* 0\.6000"):
            require_agreement(written.path("fp32"), wanted_ND, images_NHWC, gate, "it")


def fixed_batch(path, out, batch):
    """The same file for batches of one size only."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, out)
    return out


@pytest.mark.parametrize("batch", [1, 8])
def test_a_file_for_one_batch_only_is_refused(written, tmp_path, batch):
    images_NHWC = faces()[:8]
    wanted_ND = embeddings_of(written.path("fp32"), images_NHWC)
    path = fixed_batch(written.path("fp32"), tmp_path / "a.onnx", batch)
    with pytest.raises(ParityError, match="^it: not written, ONNX Runtime fails on it"):
        require_agreement(path, wanted_ND, images_NHWC, Gate(-1, -1), "it")


def wrong_at(path, out, batch):
    """The same file, whose embeddings point the other way for batches of that size."""
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "right"
    constants = {"zero": np.int64(0), "batch": np.int64(batch), "wrong": np.float32(-1), "as_it_is": np.float32(1)}
    model.graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["input"], ["shape"]),
            helper.make_node("Gather", ["shape", "zero"], ["count"]),
            helper.make_node("Equal", ["count", "batch"], ["is_it"]),
            helper.make_node("Where", ["is_it", "wrong", "as_it_is"], ["factor"]),
            helper.make_node("Mul", ["right", "factor"], ["embedding"]),
        ]
    )
    onnx.save(model, out)
    return out


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_file_that_is_wrong_at_one_batch_only_is_refused(written, tmp_path, batch):
    images_NHWC = faces()[:8]
    wanted_ND = embeddings_of(written.path("fp32"), images_NHWC)
    path = wrong_at(written.path("fp32"), tmp_path / "a.onnx", batch)
    with pytest.raises(ParityError, match=rf"^it: not written, a batch of {batch} has a cosine of -1\.0000"):
        require_agreement(path, wanted_ND, images_NHWC, GATES["int8"], "it")


def test_nan_is_below_every_gate(written, tmp_path):
    images_NHWC = faces()[:8]
    wanted_ND = embeddings_of(written.path("fp32"), images_NHWC)
    assert require_agreement(written.path("fp32"), wanted_ND, images_NHWC, GATES["fp16"], "it") == Agreement(
        pytest.approx(1), pytest.approx(1), 8
    )
    wanted_ND[7] = np.nan
    with pytest.raises(ParityError, match="nan"):
        require_agreement(written.path("fp32"), wanted_ND, images_NHWC, Gate(-1, -1), "it")
