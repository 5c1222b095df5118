"""Every rule of a submission, kept by an honest file and broken by one that breaks just it."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from recognition.errors import InputError
from recognition.export.submission import Limits, check_submission
from tests.settled import faces

SIDE = 16
LIMITS = Limits(image_size=SIDE)
SCALED = "pixel values are scaled once"
INPUT = f"one float input of N x 3 x {SIDE} x {SIDE}, N free or 1"
FINITE = "every number is finite"
ALONE = "a picture's embedding does not depend on its batch"
TWICE = "the same picture twice gives the same"
LENGTHS = "embeddings are not brought to one length inside"
APART = "other faces give other embeddings"


@pytest.fixture(scope="module")
def images_NHWC():
    return faces(8, SIDE)


def recogniser(path, *before, after=(), batch="N", dim=8, inputs=1, sides=(SIDE, SIDE), weight=None):
    """Flatten and one matrix; `before` and `after` are nodes as (operator, extra inputs, attributes)."""
    features = 3 * sides[0] * sides[1]
    weight = np.random.default_rng(0).normal(0, 0.1, (features, dim)) if weight is None else weight
    constants, nodes, name = [numpy_helper.from_array(weight.astype(np.float32), "w")], [], "x"
    steps = [*before, ("Flatten", (), {}), ("MatMul", ("w",), {}), *after]
    for place, (kind, extra, attributes) in enumerate(steps):
        more = []
        for value in extra:
            if not isinstance(value, str):
                constants.append(numpy_helper.from_array(np.float32(value), f"c{len(constants)}"))
            more.append(value if isinstance(value, str) else constants[-1].name)
        nodes.append(helper.make_node(kind, [name, *more], [f"t{place}"], **attributes))
        name = f"t{place}"
    nodes[-1].output[0] = "y"
    values = [
        helper.make_tensor_value_info(entry, TensorProto.FLOAT, [batch, 3, *sides]) for entry in ("x", "z")[:inputs]
    ]
    if inputs == 2:
        nodes.insert(0, helper.make_node("Identity", ["z"], ["unused"]))
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, dim])
    graph = helper.make_graph(nodes, "g", values, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if before:  # what the graph does, its metadata ask for once more
        helper.set_model_props(model, {"arcscale": json.dumps({"mean": 127.5, "std": 127.5})})
    onnx.save(model, path)
    return path


def broken(path, images_NHWC, limits=LIMITS):
    """The rules that the file breaks, with their figures."""
    return {v.rule: v.figure for v in check_submission(path, images_NHWC, limits) if not v.passed}


@pytest.mark.parametrize("batch", ["N", 1])
def test_an_honest_file_keeps_every_rule(tmp_path, images_NHWC, batch):
    verdicts = list(check_submission(recogniser(tmp_path / "a.onnx", batch=batch), images_NHWC, LIMITS))
    assert [verdict.line() for verdict in verdicts if not verdict.passed] == []
    assert len({verdict.rule for verdict in verdicts}) == len(verdicts) == 10
    assert "outside of the file, by mean 127.5, std 127.5, RGB" in [verdict.figure for verdict in verdicts]


def test_every_precision_that_is_exported_keeps_every_rule(written):
    for precision in ("fp32", "fp16", "int8"):
        assert broken(written.path(precision), faces()[:8], Limits()) == {}


NORMALISED = ("LpNormalization", (), {"axis": 1})


@pytest.mark.parametrize(
    ("steps", "rules"),
    [
        ({"batch": 4}, [INPUT]),
        ({"inputs": 2}, [INPUT]),
        ({"sides": (SIDE, 2 * SIDE)}, [INPUT]),
        ({"before": [("Sub", [127.5], {}), ("Mul", [1 / 127.5], {})]}, [SCALED, APART]),
        ({"before": [("Transpose", (), {"perm": [0, 1, 3, 2]}), ("Div", [255.0], {})]}, [SCALED, APART]),
        ({"after": [("Sub", [1e4], {}), ("Sqrt", (), {})]}, [FINITE, TWICE, ALONE, LENGTHS, APART]),
        ({"after": [NORMALISED]}, [LENGTHS]),
        ({"after": [("Mul", [0.0], {}), ("Add", [1.0], {})]}, [LENGTHS, APART]),
        ({"after": [("Add", [1e4], {})]}, [APART]),
        ({"after": [("Softmax", (), {"axis": 0}), ("Add", [0.1], {})]}, [ALONE, LENGTHS, APART]),
    ],
)
def test_what_breaks_a_rule_is_told_by_it(tmp_path, images_NHWC, steps, rules):
    found = broken(recogniser(tmp_path / "a.onnx", *steps.pop("before", ()), **steps), images_NHWC)
    assert set(rules[:1]) <= set(found) <= set(rules), found


@pytest.mark.parametrize(
    "before", [[("Mul", [1.0], {})], [("Add", [0.25], {})], [("Div", [0.5], {}), ("Sub", [0.1], {})]]
)
def test_a_first_operator_that_is_made_for_scaled_pixels_is_no_second_scaling(tmp_path, images_NHWC, before):
    assert SCALED not in broken(recogniser(tmp_path / "a.onnx", *before), images_NHWC)


def test_a_number_that_only_some_pictures_make_infinite(tmp_path, images_NHWC):
    # The sum over a picture is -768 when it is black, and larger for all others.
    after = [("Add", [3 * SIDE * SIDE - 0.5], {}), ("Sqrt", (), {})]
    path = recogniser(tmp_path / "a.onnx", weight=np.ones((3 * SIDE * SIDE, 8)), after=after)
    assert broken(path, images_NHWC)[FINITE] == "not for black"


def test_randomness_is_seen(tmp_path, images_NHWC):
    after = [("Dropout", [0.5, "on"], {})]
    path = recogniser(tmp_path / "a.onnx", after=after)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "on"))
    onnx.save(model, path)
    assert TWICE in broken(path, images_NHWC)


def test_limits_count(tmp_path, images_NHWC):
    path = recogniser(tmp_path / "a.onnx")
    size = path.stat().st_size
    assert broken(path, images_NHWC, Limits(image_size=SIDE, size_bytes=size, embedding_size=8)) == {}
    assert len(broken(path, images_NHWC, Limits(image_size=SIDE, size_bytes=size - 1))) == 1
    found = broken(path, images_NHWC, Limits(image_size=SIDE, embedding_size=7))
    assert found == {"embeddings of at most 7 numbers": "8"}
    assert broken(path, images_NHWC, Limits(image_size=SIDE, latency_ms=1e5)) == {}
    (rule,) = broken(path, images_NHWC, Limits(image_size=SIDE, latency_ms=0.0))
    assert rule == "time for one picture, at most 0 ms"


def test_the_figures_are_those_of_the_file(tmp_path, images_NHWC):
    path = recogniser(tmp_path / "a.onnx")
    figures = {verdict.rule: verdict.figure for verdict in check_submission(path, images_NHWC, LIMITS)}
    x_NCHW = (images_NHWC.astype(np.float64).transpose(0, 3, 1, 2) - 127.5) / 127.5
    emb_ND = x_NCHW.reshape(8, -1) @ numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    lengths = np.linalg.norm(emb_ND, axis=1)
    assert figures[LENGTHS] == f"lengths from {lengths.min():.4g} to {lengths.max():.4g}"
    cosines = (emb_ND @ emb_ND.T) / np.outer(lengths, lengths) - 2 * np.eye(8)
    assert figures[APART] == f"largest cosine of two {cosines.max():.4f}"


def test_what_is_no_recogniser_ends_the_list_and_what_is_no_file_is_an_error(tmp_path, images_NHWC):
    path = recogniser(tmp_path / "a.onnx", after=[("Unsqueeze", ["axis"], {})])
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([2]), "axis"))
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    onnx.save(model, path)
    found = broken(path, images_NHWC)
    assert "no embedding among its outputs" in found["gives an embedding for each picture"]
    with pytest.raises(InputError, match="does not exist"):
        list(check_submission(tmp_path / "absent.onnx", images_NHWC, LIMITS))
