"""float32 ONNX -> int8 ONNX: static quantisation in QDQ form, ranges from the user's own pictures.

Jacob et al. (arXiv:1712.05877): real = scale * (integer - zero point). Weights have a scale per output channel and no
zero point, activations one scale and zero point per tensor, from the smallest to the largest value that occurred.

Measured with ONNX Runtime 1.31 on an x86 CPU with AVX2 and without VNNI; cosine to float32, mean / smallest, over 120
pictures that were not calibrated with, of mbf_tiny trained on 3,561 LFW pictures | of mbf trained on 300 ORL pictures:
    weights of 8 bits                       0.9455 / 0.9014     0.9910 / 0.9668
    weights of 7 bits                       0.9984 / 0.9961     0.9992 / 0.9985
so weights take 7 of the 8 bits: the instructions of such a CPU add two products of 8 x 8 bits in 16, which overflow
unless one side is halved. A file that relies on the 8th bit gives other embeddings on other machines. With 7:
    ranges to the 99.9th percentile         0.9959 / 0.9852     0.9927 / 0.9782
    to the 99.99th                          0.9986 / 0.9928     0.9988 / 0.9972
    to the 99.999th                         0.9983 / 0.9960     0.9993 / 0.9989
    by entropy                              0.9984 / 0.9961     0.9992 / 0.9985
    first layer in float32                  0.9985 / 0.9963     0.9992 / 0.9986
    last layer in float32                   0.9987 / 0.9972     0.9993 / 0.9987
so ranges go from minimum to maximum: nothing is better by more than 0.001, and what is takes three times as long and
all values in memory, or the room of the last layer, which in r18 is half of the weights. PReLU has no 8-bit kernel in
ONNX Runtime: it stays in float32 between two layers, as sums and what is left of batch norms do. 8 bits around these
change neither figure by more than 0.001.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from recognition.errors import InputError
from recognition.export.agreement import network_input
from recognition.export.graph import without_batch_norms, without_unused_operator_sets
from recognition.export.onnx_file import INPUT, Feed

METHOD = "static QDQ: Conv, Gemm and MatMul; int8 weights per channel in 7 bits, int8 activations per tensor, min-max"
QUANTISED = ("Conv", "Gemm", "MatMul")
BATCH_SIZE = 16
LEAST_OPSET = 13  # DequantizeLinear has no axis before


def require_scale_for_each_channel(opset: int) -> None:
    """InputError for an opset in which int8 cannot be written."""
    if opset < LEAST_OPSET:
        raise InputError(f"int8 needs --opset {LEAST_OPSET} or above, which has a scale for each channel, not {opset}")


def eight_bits(path: Path, images_NHWC: np.ndarray, folder: Path) -> onnx.ModelProto:
    """The recogniser of the float32 file at `path`, calibrated on uint8 pictures; `folder` is for files on the way."""
    starts = range(0, len(images_NHWC), BATCH_SIZE)
    batches = ({INPUT: network_input(images_NHWC[start : start + BATCH_SIZE])} for start in starts)
    return quantised(path, batches, folder)


def quantised(
    path: Path,
    batches: Iterable[Feed],
    folder: Path,
    *,
    kinds: Sequence[str] = QUANTISED,
    left: Callable[[onnx.GraphProto], Sequence[str]] = lambda _: (),
) -> onnx.ModelProto:
    """The network of the float32 file at `path` with its operators `kinds` in int8, calibrated on `batches`.

    `left` names the nodes that stay in float32.
    """
    prepared, written = folder / "prepared.onnx", folder / "quantised.onnx"
    with quiet():
        # Batch norms behind a layer become part of it, and every tensor gets a shape.
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        without_batch_norms(model)
        onnx.save(model, prepared)
        quantize_static(
            prepared,
            written,
            _Batches(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(kinds),
            nodes_to_exclude=list(left(model.graph)),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    model = onnx.load(written)
    without_unused_operator_sets(model)
    return model


class _Batches(CalibrationDataReader):
    """What the quantiser asks for inputs."""

    def __init__(self, batches: Iterable[Feed]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the names of the inputs, None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else dict(batch)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing below an error from the quantiser, which writes its advice to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
