"""Recognisers made by hand, as ONNX files: flatten and one matrix; and what they must give."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

SIZE, DIM = 6, 5
WEIGHT = np.random.default_rng(0).normal(0, 0.1, (3 * SIZE * SIZE, DIM)).astype(np.float32)


def linear_onnx(path, *, layout="NCHW", batch="N", kind=TensorProto.FLOAT, size=(SIZE, SIZE), meta=None, rank4=False):
    """A recogniser made by hand: flatten and one matrix."""
    sides = list(size)
    shape = [batch, 3, *sides] if layout == "NCHW" else [batch, *sides, 3]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["emb"])]
    initializers = [numpy_helper.from_array(WEIGHT.astype(dtype), "w")]
    output = helper.make_tensor_value_info("emb", kind, [batch, DIM])
    if rank4:
        nodes.append(helper.make_node("Reshape", ["emb", "shape"], ["out"]))
        initializers.append(numpy_helper.from_array(np.array([-1, DIM, 1, 1]), "shape"))
        output = helper.make_tensor_value_info("out", kind, [batch, DIM, 1, 1])
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, shape)], [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if meta is not None:
        helper.set_model_props(model, {"arcscale": meta})
    onnx.save(model, path)
    return path


def pictures(count):
    """Pixel values 0 to 255 (N, 3, H, W) RGB, and what an embedder is given: the same in [-1, 1]."""
    pixels = np.random.default_rng(count).integers(0, 256, (count, 3, SIZE, SIZE)).astype(np.float32)
    return pixels, torch.from_numpy((pixels - 127.5) / 127.5)


def expected(pixels, *, mean=127.5, std=127.5, bgr=False, layout="NCHW"):
    pixels = (pixels[:, ::-1] if bgr else pixels).astype(np.float64)
    pixels = pixels if layout == "NCHW" else pixels.transpose(0, 2, 3, 1)
    return ((pixels - mean) / std).reshape(len(pixels), -1) @ WEIGHT
