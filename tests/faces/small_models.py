"""Detectors whose outputs are written into the file: what a test says they find, they find in any picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
SIDE = 64  # of the picture that they take
Finds = dict[tuple[int, int], tuple]  # (stride, row of the output): the numbers there, head by head


def write_yunet(path: Path, finds: Finds) -> Path:
    """A model with YuNet's outputs; the numbers of a find are (cls, obj, box of 4, points of 10)."""
    heads = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    tensors = {
        f"{head}_{s}": np.zeros((1, (SIDE // s) ** 2, n), np.float32) for s in STRIDES for head, n in heads.items()
    }
    for (stride, row), numbers in finds.items():
        for head, values in zip(heads, numbers):
            tensors[f"{head}_{stride}"][0, row] = values
    return write_model(path, {name: tensors[name] for name in sorted(tensors)})


def write_scrfd(path: Path, finds: Finds, *, batch: bool = False) -> Path:
    """A model with SCRFD's outputs, under numbers for names; the numbers of a find are (score, box of 4, points)."""
    tensors, shape = {}, (1,) if batch else ()
    for place, columns in enumerate((1, 4, 10)):
        for stride in STRIDES:
            rows = np.zeros((2 * (SIDE // stride) ** 2, columns), np.float32)
            for (of_stride, row), numbers in finds.items():
                if of_stride == stride:
                    rows[row] = numbers[place]
            tensors[str(440 + len(tensors))] = rows.reshape(*shape, *rows.shape)
    return write_model(path, tensors)


def write_model(path: Path, outputs: dict[str, np.ndarray], shape: tuple = (1, 3, SIDE, SIDE)) -> Path:
    """A model that gives these tensors for any input of that shape."""
    nodes = [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(t)) for name, t in outputs.items()]
    given = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, shape)
    put_out = [helper.make_tensor_value_info(name, TensorProto.FLOAT, t.shape) for name, t in outputs.items()]
    graph = helper.make_graph(nodes, "faces", [given], put_out)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_centerface(path: Path, finds: dict[tuple[int, int], tuple]) -> Path:
    """A model with CenterFace's outputs; numbers of a find at (row, column): score, log size, offset, points (y, x)."""
    side = SIDE // 4
    tensors = {
        name: np.zeros((1, n, side, side), np.float32) for name, n in zip(("537", "538", "539", "540"), (1, 2, 2, 10))
    }
    for (row, column), numbers in finds.items():
        for tensor, values in zip(tensors.values(), numbers):
            tensor[0, :, row, column] = values
    return write_model(path, tensors)
