"""float32 ONNX -> int8 ONNX: static quantisation in QDQ form, ranges from the user's own pictures.

Jacob et al. (arXiv:1712.05877): real = scale * (integer - zero point). Weights have a scale per output channel and no
zero point, activations one scale and zero point per tensor, from the smallest to the largest value that occurred.

Measured on the CPU of an x86 machine without VNNI, cosine to float32 (mean / smallest) over 120 pictures that were not
calibrated with, of mbf_tiny trained on 3,561 LFW pictures:
    8-bit weights 0.946 / 0.901     7-bit weights 0.9984 / 0.9961
so weights take 7 of the 8 bits: the instructions of such machines add two products of 8 x 8 bits in 16, which overflow
unless one side is halved. A file that relies on 8 would give other embeddings on other machines.
    ranges by minimum and maximum 0.9984 / 0.9961, the 99.99th percentile 0.9986 / 0.9928, the 99.9th 0.996 / 0.985
so no value is cut off. Left in float32 beside:
    the first layer 0.9985 / 0.9963, the last 0.9987 / 0.9972, both 0.9987 / 0.9978
a gain too small for the size of the last layer: in r18 it is half of the weights. PReLU has no 8-bit kernel in ONNX
Runtime, and stays in float32 between two layers, as sums and what is left of batch norms do; 8 bits around the sums
change nothing above, those around PReLU lower the mean.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from recognition.export.agreement import network_input
from recognition.export.graph import without_batch_norms, without_unused_operator_sets
from recognition.export.onnx_file import INPUT

METHOD = "static QDQ: Conv, Gemm and MatMul; int8 weights per channel in 7 bits, int8 activations per tensor, min-max"
QUANTISED = ("Conv", "Gemm", "MatMul")
BATCH_SIZE = 16


def eight_bits(path: Path, images_NHWC: np.ndarray, folder: Path) -> onnx.ModelProto:
    """The network of the float32 file at `path`, calibrated on uint8 pictures; `folder` is for files on the way."""
    prepared, written = folder / "prepared.onnx", folder / "quantised.onnx"
    with _quiet():
        # Batch norms behind a layer become part of it, and every tensor gets a shape.
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        without_batch_norms(model)
        onnx.save(model, prepared)
        quantize_static(
            prepared,
            written,
            _Batches(images_NHWC),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    model = onnx.load(written)
    without_unused_operator_sets(model)
    return model


class _Batches(CalibrationDataReader):
    """What the quantiser asks for pictures."""

    def __init__(self, images_NHWC: np.ndarray) -> None:
        starts = range(0, len(images_NHWC), BATCH_SIZE)
        self.batches = iter(images_NHWC[start : start + BATCH_SIZE] for start in starts)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the name of the input, None after the last."""
        batch_BHWC = next(self.batches, None)
        return None if batch_BHWC is None else {INPUT: network_input(batch_BHWC)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing below an error from the quantiser, which writes its advice to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
