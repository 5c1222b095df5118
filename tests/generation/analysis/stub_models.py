"""Models that say what a test wants: constants, the place of the brightest pixel, or the mean of what they are fed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

RAW = ("_minusscalar0", "_mulscalar0")  # names by which InsightFace knows a graph that normalises by itself


def write_constant(path: Path, values: Sequence[float], size: int | str, *, shape: tuple | None = None) -> Path:
    """Puts out these values (1, N) whatever it sees."""
    constant = np.asarray(values, np.float32)[None]
    node = helper.make_node("Constant", [], ["fc1"], value=numpy_helper.from_array(constant))
    return _save(path, [node], [], shape or (1, 3, size, size), constant.shape)


def write_brightest(path: Path, size: int, count: int, *, scale: float, shift: float) -> Path:
    """`count` times the place (x, y) of the pixel that is brightest in red, as place * scale + shift."""
    constants = {
        "side": np.array(size, np.int64),
        "two": np.array([1, 2], np.int64),
        "times": np.array([1, count], np.int64),
        "flat": np.array([1, -1], np.int64),
        "zero": np.array(0, np.int64),
        "scale": np.array(scale, np.float32),
        "shift": np.array(shift, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["data", "zero"], ["red"], axis=1),
        helper.make_node("Reshape", ["red", "flat"], ["row"]),
        helper.make_node("ArgMax", ["row"], ["at"], axis=1, keepdims=1),
        helper.make_node("Mod", ["at", "side"], ["x"]),
        helper.make_node("Div", ["at", "side"], ["y"]),
        helper.make_node("Concat", ["x", "y"], ["xy"], axis=1),
        helper.make_node("Cast", ["xy"], ["place"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["place", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["one"]),
        helper.make_node("Tile", ["one", "times"], ["fc1"]),
    ]
    return _save(path, nodes, list(constants.items()), (1, 3, size, size), (1, 2 * count))


def write_mean(path: Path, size: int, *, names: tuple[str, str] = ("first", "second")) -> Path:
    """The means (1, 3) of what it is fed in red, green and blue, through two nodes of these names that do nothing."""
    constants = {"zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32)}
    nodes = [
        helper.make_node("Sub", ["data", "zero"], ["a"], name=names[0]),
        helper.make_node("Mul", ["a", "one"], ["b"], name=names[1]),
        helper.make_node("ReduceMean", ["b"], ["fc1"], axes=[2, 3], keepdims=0),
    ]
    return _save(path, nodes, list(constants.items()), (1, 3, size, size), (1, 3))


def _save(
    path: Path, nodes: list[NodeProto], constants: list[tuple[str, np.ndarray]], shape: tuple, out: tuple
) -> Path:
    given = helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)
    put_out = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, out)
    weights = [numpy_helper.from_array(value, name) for name, value in constants]
    graph = helper.make_graph(nodes, "stub", [given], [put_out], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
