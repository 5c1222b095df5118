"""Gender and age as InsightFace's model says them, and how pixels reach a model: its mean, deviation and order."""

import numpy as np
import pytest

from generation.analysis.crops import begins_with_normalisation, crop_of, insightface_matrix, open_crop_model
from generation.analysis.gender_age import open_gender_age
from recognition.embedding.onnx_graph import read_graph
from recognition.errors import InputError
from tests.generation.analysis.stub_models import RAW, write_constant, write_mean

BOX = np.array([20, 20, 60, 60], np.float32)
COLOURED = np.broadcast_to(np.array([200, 30, 90], np.uint8), (80, 80, 3))


@pytest.mark.parametrize(
    ("values", "gender", "age"), [((0.2, 0.9, 0.344), "male", 34), ((1.5, 1.4, 0.616), "female", 62)]
)
def test_the_greater_of_two_and_hundredths_of_a_century(tmp_path, values, gender, age):
    model = open_gender_age(write_constant(tmp_path / "genderage.onnx", values, 96))
    found = model(COLOURED, BOX)
    assert (found.gender, found.age_years, found.by) == (gender, age, "genderage.onnx")
    assert found.margin == pytest.approx(abs(values[0] - values[1]), abs=1e-6)
    assert len(model.facts["sha256"]) == 64


def test_pixels_are_normalised_unless_the_graph_does_it(tmp_path):
    raw = open_crop_model(write_mean(tmp_path / "raw.onnx", 32, names=RAW), "a test", {3: 32})
    plain = open_crop_model(write_mean(tmp_path / "plain.onnx", 32), "a test", {3: 32})
    crop = COLOURED[:32, :32]
    np.testing.assert_allclose(raw(crop), [200, 30, 90], atol=1e-3)
    np.testing.assert_allclose(plain(crop), (np.array([200, 30, 90]) - 127.5) / 128, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "inside"),
    [(("Sub_0", "Mul_1"), True), (("bn_data", "x"), True), (("Sub_0", "x"), False), (("x", "_mulscalar0"), False)],
)
def test_a_graph_that_normalises_is_known_by_its_nodes(tmp_path, names, inside):
    assert begins_with_normalisation(read_graph(write_mean(tmp_path / "m.onnx", 8, names=names))) is inside


def test_a_landmark_model_says_no_gender(tmp_path):
    with pytest.raises(InputError, match="no model for gender and age.*landmarks: give it as --landmarks"):
        open_gender_age(write_constant(tmp_path / "m.onnx", np.zeros(212), 192))


def test_crops_and_back_are_exact():
    matrix = insightface_matrix(np.array([10.2, 20.7, 90.9, 130.1]), 192)
    crop = crop_of(COLOURED, matrix, 192)
    points = np.random.default_rng(0).uniform(-50, 300, (40, 2))
    np.testing.assert_allclose(crop.in_picture(points @ matrix[:, :2].T + matrix[:, 2]), points, atol=1e-9)
    assert crop.scale == pytest.approx(192 / (1.5 * 109.4))
    assert crop.pixels_SSC.shape == (192, 192, 3)
