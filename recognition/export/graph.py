"""ONNX graphs: batch norms as a product and a sum, nodes in order, metadata, only the operator sets in use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from recognition.weights import META_KEY


def without_batch_norms(model: onnx.ModelProto) -> None:
    """Replace each BatchNormalization by x * scale + shift, of constants that are computed in float64; in place.

    A variance may be beyond float16 (65504) or so small that few of its bits are left there; scale = gamma /
    sqrt(variance + epsilon) is neither. Ioffe and Szegedy (arXiv:1502.03167), algorithm 2.
    """
    graph = model.graph
    _inline_repeated_constants(graph)
    ranks = _ranks(model)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "BatchNormalization" or not all(name in constants for name in node.input[1:]):
            nodes.append(node)
            continue
        gamma_C, beta_C, mean_C, variance_C = (
            numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:]
        )
        epsilon = next((entry.f for entry in node.attribute if entry.name == "epsilon"), 1e-5)
        scale_C = gamma_C / np.sqrt(variance_C + epsilon)
        shape = (-1, *[1] * (ranks[node.input[0]] - 2))
        name = node.name or node.output[0]
        for suffix, values_C in (("scale", scale_C), ("shift", beta_C - mean_C * scale_C)):
            values = values_C.astype(np.float32).reshape(shape)
            graph.initializer.append(numpy_helper.from_array(values, f"{name}/{suffix}"))
        product = f"{name}/scaled"
        nodes.append(helper.make_node("Mul", [node.input[0], f"{name}/scale"], [product], f"{name}/mul"))
        nodes.append(helper.make_node("Add", [product, f"{name}/shift"], [node.output[0]], f"{name}/add"))
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused_constants(graph)


def without_unused_operator_sets(model: onnx.ModelProto) -> None:
    """Leave only the operator sets that nodes belong to; ONNX Runtime lists all that it knows. In place."""
    used = {"", *({"": "", "ai.onnx": ""}.get(node.domain, node.domain) for node in model.graph.node)}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Bring the nodes into an order in which each comes after those whose outputs it takes, as ONNX wants; in place."""
    made_by = {name: index for index, node in enumerate(graph.node) for name in node.output}
    order: dict[int, None] = {}
    waiting = list(range(len(graph.node)))[::-1]
    while waiting:
        index = waiting[-1]
        needed = [made_by[name] for name in graph.node[index].input if name in made_by and made_by[name] not in order]
        if needed:
            waiting.extend(needed)
        else:
            order.setdefault(waiting.pop())
    nodes = [graph.node[index] for index in order]
    del graph.node[:]
    graph.node.extend(nodes)


def set_meta(model: onnx.ModelProto, meta: Mapping[str, Any]) -> None:
    """Make `meta` (JSON) the only metadata of the file, and this package its producer; in place."""
    model.producer_name = "arcscale"
    model.producer_version = ""
    helper.set_model_props(model, {META_KEY: json.dumps(meta)})


def meta_of(model: onnx.ModelProto) -> dict[str, Any]:
    """The metadata of a file of ours; {} where there are none."""
    stored = {entry.key: entry.value for entry in model.metadata_props}
    return json.loads(stored.get(META_KEY, "{}"))


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {value.name: len(value.type.tensor_type.shape.dim) for value in [*graph.input, *graph.value_info]}


def _inline_repeated_constants(graph: onnx.GraphProto) -> None:
    """The exporter stores equal tensors once and names the others by Identity nodes; let all go by the one name."""
    original = {tensor.name: tensor.name for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in original:
            original[node.output[0]] = original[node.input[0]]
            continue
        for place, name in enumerate(node.input):
            node.input[place] = original.get(name, name)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
