"""ONNX files that agree with PyTorch: written, compared at several batch sizes, and only then given their name."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from recognition.atomic import replacing
from recognition.data.transforms import INPUT_FACTS
from recognition.embedding.over_ranks import evaluating
from recognition.errors import InputError
from recognition.export.graph import set_meta
from recognition.weights import plain_state, weights_sha256

OPSET = 17  # the newest that the runtimes in use (TensorRT 8.6, OpenVINO 2023, ONNX Runtime 1.12) all read
INPUT, OUTPUT = "input", "embedding"
BATCHES = (1, 2, 7)
TOLERANCE = 2e-5  # of the largest value of an embedding; float32 sums in another order differ by about 1e-6
MAX_PROTOBUF_BYTES = 2**31


class ParityError(InputError):
    """ONNX Runtime does not give the numbers that PyTorch gives; no file was left behind."""


def export_onnx(module: nn.Module, path: str | PathLike, meta: dict[str, Any], *, output: str = OUTPUT) -> float:
    """Write `module` as float32 ONNX with any batch size; returns the largest relative difference from PyTorch.

    `meta` (JSON; `image_size` is used) goes into the file's metadata, with the normalisation, the channel order and the
    SHA-256 of the weights. ParityError, and no file, when ONNX Runtime differs from PyTorch at a batch of 1, 2 or 7.
    """
    path = Path(path)
    sha256 = weights_sha256(plain_state(module))
    meta = {**INPUT_FACTS, **meta, "sha256": sha256}
    require_exportable(module, str(path))
    # A copy: the caller's network keeps its device, its memory format and its mode.
    module = copy.deepcopy(module).cpu().float().to(memory_format=torch.contiguous_format)
    with replacing(path) as partial, evaluating(module):
        _write(module, partial, meta, output)
        return _largest_difference(module, partial, size=meta.get("image_size", 112), name=path)


def require_exportable(module: nn.Module, what: str) -> None:
    """InputError, beginning with `what`, when the weights do not fit into one ONNX file."""
    size_bytes = sum(tensor.numel() * 4 for tensor in module.state_dict().values())
    if size_bytes >= MAX_PROTOBUF_BYTES:
        raise InputError(f"{what}: the weights have {size_bytes / 2**30:.1f} GiB, but an ONNX file holds at most 2 GiB")


def _write(module: nn.Module, path: Path, meta: dict[str, Any], output: str) -> None:
    """Trace and write, with the metadata inside; batch is the only dynamic dimension."""
    size = meta.get("image_size", 112)
    example = torch.zeros(2, 3, size, size)  # two samples: a batch of one could be baked in as a constant
    # The TorchScript exporter takes 0.4 s for mbf where the torch.export one takes 9 s and logs what it lacks; torch is
    # bounded below the version that may drop it, and its warning to that effect is not the user's concern.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[output],
            dynamic_axes={INPUT: {0: "batch"}, output: {0: "batch"}},
        )
    model = onnx.load(path)
    set_meta(model, meta)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _largest_difference(module: nn.Module, path: Path, *, size: int, name: Path) -> float:
    """Run both on the same random pictures; ParityError naming the batch where they differ by more than TOLERANCE."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    largest = 0.0
    for batch in BATCHES:
        x_BCHW = draw.uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)
        with torch.inference_mode():
            wanted_BD = module(torch.from_numpy(x_BCHW)).numpy()
        try:
            found_BD = session.run(None, {INPUT: x_BCHW})[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            reason = str(error)[:200]
            raise ParityError(f"{name}: not written, ONNX Runtime fails at batch {batch}: {reason}") from error
        if found_BD.shape != wanted_BD.shape:
            raise ParityError(f"{name}: not written, batch {batch} gives {found_BD.shape}, PyTorch {wanted_BD.shape}")
        difference = float(np.abs(found_BD - wanted_BD).max() / max(np.abs(wanted_BD).max(), 1e-30))
        if not difference <= TOLERANCE:  # also true for NaN
            raise ParityError(
                f"{name}: not written, ONNX Runtime differs from PyTorch by {difference:.1e} (relative) "
                f"at batch {batch}; at most {TOLERANCE:.0e} is accepted"
            )
        largest = max(largest, difference)
    return largest
