"""A generator's float32 ONNX -> int8: static, which is kept where it is near enough, and dynamic, to compare with.

Measured with ONNX Runtime 1.31 on an x86 CPU with AVX2 and without VNNI: the default generator, random weights,
pictures of 128 x 128 from UTKFace, 32 to calibrate with and 16 others; PSNR in dB to float32, mean / smallest:
    Conv and ConvTranspose                             8.49 MB     29.3 / 27.4
    without the last 7x7                               8.52 MB     29.4 / 27.5
    without the first and the last 7x7                 8.59 MB     31.9 / 30.8
    the same with weights of 8 bits                    8.59 MB     32.0 / 31.1
    with InstanceNormalization                         8.63 MB     28.3 / 26.9
    without ConvTranspose, too                        10.55 MB     32.3 / 31.1
    dynamic, Conv alone (there is no other kernel)    10.43 MB     36.6 / 35.0
The 7x7 layers hold 1 part in 170 of the weights, and the pictures themselves pass through them: they stay in float32.
Weights take 7 of the 8 bits for the reason in recognition/export/int8.py. ConvTranspose must be int8, since without it
the file is more than 1 / 3.5 of float32's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from generation.exporting.generator_file import IMAGE, LABELS, edit_labels
from generation.metrics import psnr_db
from recognition.atomic import replacing
from recognition.export.agreement import network_input
from recognition.export.calibration import Calibration
from recognition.export.graph import meta_of, set_meta, without_unused_operator_sets
from recognition.export.int8 import quantised, quiet, require_scale_for_each_channel
from recognition.export.onnx_file import BATCHES, Feed, ParityError, opset_of
from recognition.export.precisions import OF_THE_SOURCE
from recognition.onnx_session import open_session

METHOD = "static QDQ: Conv but the first and last, ConvTranspose; int8 weights per channel in 7 bits, min-max"
KINDS = ("Conv", "ConvTranspose")
GATE_MEAN_DB, GATE_LEAST_DB = 30.0, 25.0
BATCH = 4


def feeds(images_NHWC: np.ndarray, labels_NA: np.ndarray, batch: int = BATCH) -> Iterator[Feed]:
    """Pictures, uint8, with the attributes that they shall have, in batches."""
    for start in range(0, len(images_NHWC), batch):
        some = slice(start, start + batch)
        yield {IMAGE: network_input(images_NHWC[some]), LABELS: labels_NA[some]}


def made_by(path: Path, images_NHWC: np.ndarray, labels_NA: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """What a file makes of them, float32 (N, 3, H, W)."""
    session = open_session(path, threads=torch.get_num_threads())
    return np.concatenate([session.run(None, dict(feed))[0] for feed in feeds(images_NHWC, labels_NA, batch)])


def psnrs_db(made_NCHW: np.ndarray, wanted_NCHW: np.ndarray) -> np.ndarray:
    """PSNR (N,) in decibels of pictures in [-1, 1]."""
    return psnr_db(*(torch.from_numpy(each).add(1).div(2) for each in (made_NCHW, wanted_NCHW))).numpy()


def write_static(source: Path, out: Path, calibration: Calibration, folder: Path) -> dict[str, Any]:
    """Write the int8 file of a float32 one, and say how near it is; `folder` is for files on the way.

    ParityError, and no file, where the mean PSNR to float32 over the checked pictures is below GATE_MEAN_DB or one is
    below GATE_LEAST_DB, and where a batch of 1, 2 or 7 is. InputError for a float32 file of too old an opset.
    """
    model = onnx.load(source)
    stored, images_NHWC = meta_of(model), calibration.checked_NHWC
    require_scale_for_each_channel(opset_of(model))
    names, how = stored["attributes"], {"exclusive": stored["exclusive"]}
    batches = feeds(calibration.images_NHWC, edit_labels(len(calibration.images_NHWC), names, **how))
    model = quantised(source, batches, folder, kinds=KINDS, left=_first_and_last)
    labels_NA = edit_labels(len(images_NHWC), names, **how)
    wanted_NCHW = made_by(source, images_NHWC, labels_NA)
    with replacing(out) as partial:
        onnx.save(model, partial)
        agreement = _require_near(partial, images_NHWC, labels_NA, wanted_NCHW, name=out)
        # The hash is that of the weights before they were rounded.
        set_meta(
            model,
            {key: value for key, value in stored.items() if key not in OF_THE_SOURCE}
            | {
                "precision": "int8",
                "quantisation": METHOD,
                "calibration": calibration.facts,
                "source": {"sha256": stored["sha256"]},
                "agreement": agreement,
            },
        )
        onnx.checker.check_model(model)
        onnx.save(model, partial)
    return agreement


def write_dynamic(source: Path, out: Path) -> None:
    """Write what dynamic quantisation makes of a float32 file: weights in int8, ranges found anew for each picture."""
    with quiet():
        quantize_dynamic(source, out, op_types_to_quantize=["Conv"], weight_type=QuantType.QUInt8, reduce_range=True)
    model = onnx.load(out)
    without_unused_operator_sets(model)
    onnx.save(model, out)


def _first_and_last(graph: onnx.GraphProto) -> Sequence[str]:
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    return [convolutions[0], convolutions[-1]]


def _require_near(
    path: Path, images_NHWC: np.ndarray, labels_NA: np.ndarray, wanted_NCHW: np.ndarray, *, name: Path
) -> dict[str, Any]:
    """The agreement of the file at `path` with float32; ParityError, beginning with `name`, below the gate."""
    found = psnrs_db(made_by(path, images_NHWC, labels_NA), wanted_NCHW)
    mean, least = float(found.mean()), float(found.min())
    for batch in BATCHES:
        few = psnrs_db(made_by(path, images_NHWC[:batch], labels_NA[:batch], batch), wanted_NCHW[:batch])
        least = min(least, float(few.min()))
    if not (mean >= GATE_MEAN_DB and least >= GATE_LEAST_DB):  # also true for NaN
        raise ParityError(
            f"{name}: not written, over {len(images_NHWC)} pictures the PSNR to float32 is {mean:.1f} dB in the mean "
            f"and {least:.1f} dB at least; {GATE_MEAN_DB:g} and {GATE_LEAST_DB:g} are accepted: calibrate with more "
            "pictures, like those that will be edited"
        )
    return {"psnr_db_mean": mean, "psnr_db_min": least, "pictures": len(images_NHWC)}
