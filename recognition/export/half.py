"""float32 ONNX -> float16 ONNX: half the size, the same input and output types, and nothing that overflows unseen."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor, nn

from recognition.embedding.over_ranks import evaluating
from recognition.export.graph import sort_nodes, without_batch_norms
from recognition.export.onnx_file import ParityError

LARGEST = float(np.finfo(np.float16).max)


def half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network in float16, input and output still float32; `model` is used up."""
    without_batch_norms(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights below the smallest float16: they become it, and that is measured
        model = convert_float_to_float16(model, keep_io_types=True)
    sort_nodes(model.graph)  # the casts of input and output were put behind all others
    return model


@torch.inference_mode()
def require_headroom(module: nn.Module, x_NCHW: np.ndarray, what: str) -> float:
    """The largest absolute value in the network for these pictures; ParityError, beginning with `what`, above 65504.

    ONNX Runtime computes float16 in float32 on most CPUs: an overflow would show on the GPU only. Seen are the outputs
    of all modules, which are all values but the scores of attention, and the products of batch norms (see graph.py).
    """
    largest = 0.0

    def note(part: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal largest
        values = [output] if isinstance(output, Tensor) else []
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
            scale_C = (part.running_var + part.eps).rsqrt() * (1 if part.weight is None else part.weight)
            values.append(inputs[0] * scale_C.view(-1, *[1] * (inputs[0].dim() - 2)))
        for value in values:
            # NaN counts as an overflow: max() would drop it, or not, by the order of its arguments.
            largest = max(largest, float(value.abs().max().nan_to_num(nan=float("inf"))))

    handles = [part.register_forward_hook(note) for part in module.modules()]
    try:
        with evaluating(module):
            for start in range(0, len(x_NCHW), 16):
                module(torch.from_numpy(x_NCHW[start : start + 16]))
    finally:
        for handle in handles:
            handle.remove()
    if largest > LARGEST:
        raise ParityError(
            f"{what}: not written, a value inside the network is {largest:.3g} and float16 ends at {LARGEST:g}; "
            "leave fp16 out, or train with precision=fp16 so that the network keeps within it"
        )
    return largest
