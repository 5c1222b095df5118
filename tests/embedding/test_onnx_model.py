"""ONNX files of strangers: bytes, several outputs, weights beside the file, a normalisation inside the graph."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from recognition.embedding import onnx_model
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.onnx_session import open_session
from tests.embedding.linear_onnx import DIM, SIZE, WEIGHT, expected, linear_onnx, pictures


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def graph_onnx(path, nodes, constants, outputs, *, kind=TensorProto.FLOAT, external=False):
    """Nodes from `x` (N, 3, SIZE, SIZE) to outputs of these names and shapes; `w` is the matrix."""
    inputs = [helper.make_tensor_value_info("x", kind, ["N", 3, SIZE, SIZE])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    graph = helper.make_graph(nodes, "g", inputs, values, [constant("w", WEIGHT), *constants])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


def node(kind, *names, **attributes):
    """Inputs, then the output."""
    return helper.make_node(kind, names[:-1], names[-1:], **attributes)


EMBED = [node("Flatten", "n", "flat"), node("MatMul", "flat", "w", "emb")]


def opened(path, first, constants, **options):
    return open_embedder(graph_onnx(path, [*first, *EMBED], constants, {"emb": ["N", DIM]}), **options)


# What stands before the network, its constants, and the pixels (mean, std) that it must be given.
INSIDE = {
    "sub, mul as MXNet's": (
        [node("Sub", "x", "a", "m"), node("Mul", "m", "b", "n")],
        {"a": 127.5, "b": 0.0078125},
        (0, 1),
    ),
    "sub, div": ([node("Sub", "x", "a", "m"), node("Div", "m", "b", "n")], {"a": 127.5, "b": 128}, (0, 1)),
    "mul, add": ([node("Mul", "x", "a", "m"), node("Add", "m", "b", "n")], {"a": 1 / 127.5, "b": -1}, (0, 1)),
    "constant first": ([node("Mul", "a", "x", "n")], {"a": 1 / 255}, (0, 1)),
    "after a cast": (
        [node("Cast", "x", "c", to=1), node("Sub", "c", "a", "m"), node("Mul", "m", "b", "n")],
        {"a": 127.5, "b": 1 / 128},
        (0, 1),
    ),
    "one a channel": (
        [node("Sub", "x", "a", "m"), node("Div", "m", "b", "n")],
        {"a": np.reshape([124, 116, 104], (3, 1, 1)), "b": np.reshape([58, 57, 57], (3, 1, 1))},
        (0, 1),
    ),
    "BatchNorm of pixels": (
        [node("BatchNormalization", "x", "s", "b", "mu", "v", "n")],
        {"s": [1, 1, 1], "b": [0, 0, 0], "mu": [120, 110, 100], "v": [4000, 4000, 4000]},
        (0, 1),
    ),
    "0 to 1": ([node("Sub", "x", "a", "m"), node("Div", "m", "b", "n")], {"a": 0.5, "b": 0.25}, (0, 255)),
    "nothing": ([node("Identity", "x", "n")], {}, None),
    "a mean alone": ([node("Sub", "x", "a", "n")], {"a": np.array([91.5, 103.9, 131.1]).reshape(3, 1, 1)}, (0, 1)),
    "a scale of its own": ([node("Mul", "x", "a", "n")], {"a": 2.0}, None),
    "a picture of constants": ([node("Sub", "x", "a", "n")], {"a": np.ones((3, SIZE, SIZE))}, None),
    "zero": ([node("Mul", "x", "a", "n")], {"a": 0.0}, None),
    "one over it": ([node("Div", "a", "x", "n")], {"a": 1.0}, None),
    "used twice": (
        [node("Mul", "x", "a", "m"), node("Add", "x", "m", "n")],
        {"a": 1 / 255},
        None,
    ),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_normalisation_inside_the_graph_is_seen(tmp_path, name):
    first, constants, wanted = INSIDE[name]
    facts = opened(tmp_path / "a.onnx", first, [constant(*item) for item in constants.items()]).facts
    if wanted is None:
        assert (facts["mean"], facts["std"], facts["normalisation_from"]) == (127.5, 127.5, "default")
    else:
        assert (facts["mean"], facts["std"], facts["normalisation_from"]) == (*wanted, "the graph")
        assert first[-1].op_type in facts["normalisation_why"]


def test_what_was_seen_in_the_graph_is_what_the_model_is_fed(tmp_path):
    first, constants, _ = INSIDE["sub, mul as MXNet's"]
    constants = [constant(*item) for item in constants.items()]
    pixels, x = pictures(3)
    model = opened(tmp_path / "a.onnx", first, constants)
    np.testing.assert_allclose(model(x).numpy(), expected(pixels, std=128), rtol=0, atol=2e-5)
    given = opened(tmp_path / "a.onnx", first, constants, mean=127.5, std=127.5)
    assert given.facts["normalisation_from"] == "given"
    assert "normalisation_why" not in given.facts


def test_bytes_are_given_to_a_model_that_takes_bytes(tmp_path):
    first = [node("Cast", "x", "n", to=TensorProto.FLOAT)]
    path = graph_onnx(tmp_path / "a.onnx", [*first, *EMBED], [], {"emb": ["N", DIM]}, kind=TensorProto.UINT8)
    pixels, x = pictures(3)
    model = open_embedder(path)
    np.testing.assert_allclose(model(x).numpy(), expected(pixels, mean=0, std=1), rtol=0, atol=1e-3)
    assert model.facts["input"]["dtype"] == "uint8"
    swapped = open_embedder(path, preprocess="raw,bgr")
    assert swapped.facts["normalisation_from"] == "the graph"
    np.testing.assert_allclose(swapped(x).numpy(), expected(pixels, mean=0, std=1, bgr=True), rtol=0, atol=1e-3)
    with pytest.raises(InputError, match="takes pixels as bytes"):
        open_embedder(path, preprocess="unit")


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_outputs_the_longest_that_can_be_an_embedding_is_taken(tmp_path, order):
    """Beside it a norm, a map, and logits that are too long."""
    nodes = [
        node("Identity", "x", "n"),
        *EMBED,
        node("ReduceL2", "emb", "norm", axes=[1]),
        node("MatMul", "emb", "classes", "logits"),
        node("Identity", "n", "map"),
    ]
    outputs = {"norm": ["N", 1], "map": ["N", 3, SIZE, SIZE], "emb": ["N", DIM], "logits": ["N", 5000]}
    outputs = dict(list(outputs.items())[::order])
    model = open_embedder(graph_onnx(tmp_path / "a.onnx", nodes, [constant("classes", np.ones((DIM, 5000)))], outputs))
    pixels, x = pictures(2)
    np.testing.assert_allclose(model(x).numpy(), expected(pixels), rtol=0, atol=2e-6)
    assert model.facts["output"] == "emb"
    assert model.facts["outputs"] == {name: list(shape) for name, shape in outputs.items()}


def test_weights_beside_the_file_are_used_named_and_missed(tmp_path):
    nodes = [node("Identity", "x", "n"), *EMBED]
    path = graph_onnx(tmp_path / "a.onnx", nodes, [], {"emb": ["N", DIM]}, external=True)
    pixels, x = pictures(2)
    model = open_embedder(path)
    np.testing.assert_allclose(model(x).numpy(), expected(pixels), rtol=0, atol=2e-6)
    assert list(model.facts["weights_beside"]) == ["weights.bin"]
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"a\.onnx keeps its weights in weights\.bin, which is not beside it"):
        open_embedder(path)


@pytest.mark.parametrize("place", ["../weights.bin", "/etc/hostname"])
def test_weights_elsewhere_are_not_opened(tmp_path, place):
    nodes = [node("Identity", "x", "n"), *EMBED]
    path = graph_onnx(tmp_path / "a.onnx", nodes, [], {"emb": ["N", DIM]}, external=True)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = place
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="outside its own folder"):
        open_embedder(path)


def test_the_gpu_is_asked_for_only_where_the_device_is_one(tmp_path, monkeypatch):
    path, seen = linear_onnx(tmp_path / "a.onnx"), []

    def session(path, *, cuda, threads):
        seen.append(cuda)
        return open_session(path, threads=threads)

    monkeypatch.setattr(onnx_model, "open_session", session)
    for kind in ("cpu", "cuda"):
        onnx_model.open_onnx(path, SimpleNamespace(type=kind))
    assert seen == [False, True]
    assert open_embedder(path).facts["ran_on"] == "CPU"
    assert open_session(path, cuda=True).get_providers()[-1] == "CPUExecutionProvider"


def free_onnx(path, nodes, shape):
    """Nodes from pictures of any size to `emb`."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "h", "w"])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("emb", TensorProto.FLOAT, shape)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_any_size_is_any_size(tmp_path):
    pool = [node("GlobalAveragePool", "x", "pooled"), node("Flatten", "pooled", "emb")]
    model = open_embedder(free_onnx(tmp_path / "a.onnx", pool, ["N", 3]))
    assert (model.size, model.facts["input_size"]) == (None, None)
    assert model(torch.zeros(2, 3, 5, 9)).shape == (2, 3)


def test_a_four_dimensional_output_of_unknown_sides_is_looked_at_when_it_runs(tmp_path):
    through = open_embedder(free_onnx(tmp_path / "a.onnx", [node("Identity", "x", "emb")], ["N", 3, "h", "w"]))
    assert through(torch.ones(2, 3, 1, 1)).tolist() == [[1, 1, 1]] * 2
    with pytest.raises(InputError, match="not one embedding each"):
        through(torch.ones(2, 3, 4, 4))
