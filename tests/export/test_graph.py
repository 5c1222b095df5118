"""What is done to graphs changes no number: batch norms folded, nodes sorted, operator sets dropped."""

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from recognition.export.graph import set_meta, sort_nodes, without_batch_norms, without_unused_operator_sets


def norm_model(gamma, beta, mean, variance, *, shape, epsilon=1e-3):
    names = ("gamma", "beta", "mean", "variance")
    constants = [numpy_helper.from_array(np.float32(v), n) for n, v in zip(names, (gamma, beta, mean, variance))]
    nodes = [
        helper.make_node("BatchNormalization", ["x", *names], ["y"], "norm", epsilon=epsilon),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xz"]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model, **inputs):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[0]


@pytest.mark.parametrize("shape", [("N", 4), ("N", 4, 3, 5)])
def test_a_batch_norm_becomes_a_product_and_a_sum(shape):
    draw = np.random.default_rng(0)
    gamma, beta, mean = draw.normal(size=(3, 4))
    variance = np.array([1e-9, 0.5, 3.0, 1e7])  # the last is no float16
    x = draw.normal(size=(6, *shape[1:])).astype(np.float32)
    model = norm_model(gamma, beta, mean, variance, shape=shape)
    with torch.inference_mode():
        values = [torch.tensor(value) for value in (mean, variance, gamma, beta)]
        expected = torch.relu(nn.functional.batch_norm(torch.from_numpy(x).double(), *values, eps=1e-3)).numpy()
    without_batch_norms(model)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Mul", "Add", "Relu"]
    assert {tensor.name for tensor in model.graph.initializer} == {"norm/scale", "norm/shift"}
    found = run(model, x=x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_other_nodes_and_constants_stay(written):
    before = onnx.load(written.path("fp32"))
    kinds = Counter(node.op_type for node in before.graph.node)
    assert kinds["BatchNormalization"] == 6  # those in front of a convolution cannot become part of it
    assert kinds["Identity"] > 2  # and what is equal in them is stored once
    after = onnx.load(written.path("fp32"))
    without_batch_norms(after)
    added = Counter(Mul=6, Add=6)
    assert Counter(node.op_type for node in after.graph.node) == Counter(
        {kind: count for kind, count in (kinds + added).items() if kind not in ("BatchNormalization", "Identity")}
    )
    x = np.random.default_rng(0).uniform(-1, 1, (3, 3, 112, 112)).astype(np.float32)
    expected = run(before, input=x)
    np.testing.assert_allclose(run(after, input=x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_nodes_are_sorted_and_compute_the_same(written):
    model = onnx.load(written.path("fp32"))
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32)
    expected = run(model, input=x)
    nodes = list(model.graph.node)
    np.random.default_rng(0).shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(onnx.checker.ValidationError, match="topologically"):
        onnx.checker.check_model(model)
    sort_nodes(model.graph)
    onnx.checker.check_model(model)
    assert sorted(node.name for node in model.graph.node) == sorted(node.name for node in nodes)
    np.testing.assert_array_equal(run(model, input=x), expected)


def test_operator_sets_that_no_node_needs_are_dropped():
    model = norm_model([1], [0], [0], [1], shape=("N", 1))
    model.graph.node.append(helper.make_node("Gelu", ["z"], ["w"], domain="com.microsoft"))
    for domain in ("com.microsoft", "com.microsoft.nchwc", "ai.onnx.ml"):
        model.opset_import.append(helper.make_opsetid(domain, 1))
    without_unused_operator_sets(model)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17), ("com.microsoft", 1)]


def test_metadata_are_ours_alone():
    model = norm_model([1], [0], [0], [1], shape=("N", 1))
    helper.set_model_props(model, {"onnx.infer": "somebody's", "arcscale": "old"})
    model.producer_name, model.producer_version = "somebody", "3"
    set_meta(model, {"step": 3})
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == {"arcscale": {"step": 3}}
    assert (model.producer_name, model.producer_version) == ("arcscale", "")
