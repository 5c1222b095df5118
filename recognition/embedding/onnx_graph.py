"""What an ONNX graph does to its input before the network proper begins: which normalisation is already inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from recognition.embedding.preprocess import Preprocess
from recognition.errors import InputError

LOOKED_AT = 8  # nodes after the input; InsightFace's own check looks as far
PASSED_ON = ("Cast", "Identity", "Transpose")
ZERO_TO_255 = Preprocess(mean=(0.0,), std=(1.0,))
ZERO_TO_1 = Preprocess(mean=(0.0,), std=(255.0,))


def read_graph(path: Path) -> ModelProto | None:
    """The graph without weights that lie beside it; None where the onnx package cannot read what ONNX Runtime can."""
    try:
        return onnx.load(path, load_external_data=False)
    except Exception:  # protobuf's errors have no base class that is public; such a file only goes without its facts
        return None


def external_files(model: ModelProto, path: Path) -> list[Path]:
    """The files that hold this model's weights, in the order of their names.

    InputError for one that is missing, or that lies outside the folder of the model.
    """
    names = set()
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            names |= {entry.value for entry in tensor.external_data if entry.key == "location"}
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{path} names {name!r} as its weights, outside its own folder; such a file is not opened")
    files = [path.parent / name for name in sorted(names)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{path} keeps its weights in {', '.join(missing[:3])}, which is not beside it: copy it there")
    return files


def normalisation_inside(model: ModelProto) -> tuple[Preprocess, str] | None:
    """What to feed a graph that begins with a normalisation of its own, and the sentence that says why; else None.

    The first nodes after the input (Sub, Add, Mul, Div, BatchNormalization) together are y = a x + b. Pixels of 0 to
    255 are meant where a is small (below 1/32) or y is centred on an x above 8, 0 to 1 where it is centred on 1/2.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
            constants.update(zip(node.output, values))
    inputs = [entry.name for entry in graph.input if entry.name not in constants]
    if len(inputs) != 1:
        return None
    name, scale, shift, seen = inputs[0], np.ones(1), np.zeros(1), []
    for _ in range(LOOKED_AT):
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1:
            break
        node = users[0]
        step = (np.ones(1), np.zeros(1)) if node.op_type in PASSED_ON else _affine(node, name, constants)
        if step is None:
            break
        try:
            scale, shift = scale * step[0], shift * step[0] + step[1]
        except ValueError:  # constants of different shapes: no longer one number a channel
            break
        seen += [] if node.op_type in PASSED_ON else [node.op_type]
        name = node.output[0]
    if not seen or not np.isfinite(scale).all() or not np.all(scale):
        return None
    factor, centre = float(np.abs(scale).mean()), float((-shift / scale).mean())
    what = (
        f"its graph begins with {', '.join(seen)}, which make about {factor:.3g} x {-factor * centre:+.3g} of input x"
    )
    if factor < 1 / 32 or centre > 8:
        return ZERO_TO_255, f"{what}: made for pixels of 0 to 255"
    if 0.3 < centre < 0.7 and factor > 1:
        return ZERO_TO_1, f"{what}: made for pixels of 0 to 1"
    return None


def _affine(node: NodeProto, name: str, constants: dict) -> tuple[np.ndarray, np.ndarray] | None:
    """(a, b) of y = a x + b, one number or one a channel, where `node` is such a step on `name`; None otherwise."""
    others = [_values(constants.get(other)) for other in node.input if other != name]
    if any(values is None for values in others):
        return None
    if node.op_type == "BatchNormalization" and len(others) == 4:
        epsilon = next((entry.f for entry in node.attribute if entry.name == "epsilon"), 1e-5)
        scale, bias, mean, variance = others
        factor = scale / np.sqrt(variance + epsilon)
        return factor, bias - mean * factor
    if node.op_type not in ("Sub", "Add", "Mul", "Div") or len(others) != 1:
        return None
    value, first = others[0], node.input[0] == name
    with np.errstate(divide="ignore", invalid="ignore"):
        if node.op_type == "Add":
            return np.ones(1), value
        if node.op_type == "Sub":
            return (np.ones(1), -value) if first else (-np.ones(1), value)
        if node.op_type == "Mul":
            return value, np.zeros(1)
        return (1 / value, np.zeros(1)) if first else None


def _values(tensor: onnx.TensorProto | None) -> np.ndarray | None:
    """A constant of one number or one a channel, float64 (1,) or (3,)."""
    if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    values = numpy_helper.to_array(tensor).astype(np.float64).reshape(-1)
    return values if values.size in (1, 3) else None
