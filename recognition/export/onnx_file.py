"""ONNX files that agree with PyTorch: written, compared at several batch sizes, and only then given their name."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from recognition.atomic import replacing
from recognition.data.transforms import INPUT_FACTS
from recognition.embedding.over_ranks import evaluating
from recognition.errors import InputError
from recognition.export.graph import set_meta
from recognition.weights import plain_state, weights_sha256

OPSET = 17  # the newest that the runtimes in use (TensorRT 8.6, OpenVINO 2023, ONNX Runtime 1.12) all read
INPUT, OUTPUT = "input", "embedding"
OPSETS = (11, 20)  # what the exporter writes as it is asked to
BATCHES = (1, 2, 7)
TOLERANCE = 2e-5  # of the largest value of an embedding; float32 sums in another order differ by about 1e-6
MAX_PROTOBUF_BYTES = 2**31


Axes = Mapping[int, str]  # names of the dimensions that may have any length, by their place
Feed = Mapping[str, np.ndarray]  # what a network takes, by the names of its inputs


class ParityError(InputError):
    """ONNX Runtime does not give the numbers that PyTorch gives; no file was left behind."""


@dataclass(frozen=True)
class Form:
    """Names of what a network takes and gives, in order, with their free dimensions, and how exact a file must be.

    `tolerance` is one of the largest value of an output where `relative`, else of any value.
    """

    inputs: dict[str, Axes]
    outputs: dict[str, Axes]
    tolerance: float
    relative: bool = True


def export_onnx(module: nn.Module, path: str | PathLike, meta: dict[str, Any], *, opset: int = OPSET) -> float:
    """Write a recogniser as float32 ONNX with any batch size; returns the largest relative difference from PyTorch.

    `meta` (JSON; `image_size` is used) goes into the file's metadata, with the normalisation, the channel order and the
    SHA-256 of the weights. ParityError, and no file, when ONNX Runtime differs from PyTorch at a batch of 1, 2 or 7.
    """
    size = meta.get("image_size", 112)

    def pictures() -> Iterator[Feed]:
        draw = np.random.default_rng(0)
        for batch in BATCHES:
            yield {INPUT: draw.uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)}

    form = Form(inputs={INPUT: {0: "batch"}}, outputs={OUTPUT: {0: "batch"}}, tolerance=TOLERANCE)
    example = {INPUT: np.zeros((2, 3, size, size), np.float32)}
    return export_network(module, path, {**INPUT_FACTS, **meta}, form, example, pictures(), opset=opset)


def export_network(
    module: nn.Module,
    path: str | PathLike,
    meta: Mapping[str, Any],
    form: Form,
    example: Feed,
    compared: Iterable[Feed],
    *,
    opset: int = OPSET,
) -> float:
    """Write any network as float32 ONNX; returns the largest difference from PyTorch over the inputs `compared`.

    `example`: what is traced, by the names of the inputs in the order of `module`'s arguments; a batch of two, since
    one of one could be baked in as a constant. `meta` (JSON) goes into the file with the SHA-256 of the weights.
    ParityError, and no file, above `form.tolerance`; InputError for an `opset` that is not written.
    """
    path = Path(path)
    meta = {**meta, "sha256": weights_sha256(plain_state(module))}
    require_exportable(module, str(path))
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise InputError(f"--opset {opset}: from {OPSETS[0]} to {OPSETS[1]} can be written (default: {OPSET})")
    # A copy: the caller's network keeps its device, its memory format and its mode.
    module = copy.deepcopy(module).cpu().float().to(memory_format=torch.contiguous_format)
    with replacing(path) as partial, evaluating(module):
        _write(module, partial, meta, form, example, opset=opset, name=path)
        return _largest_difference(module, partial, form, compared, name=path)


def require_exportable(module: nn.Module, what: str) -> None:
    """InputError, beginning with `what`, when the weights do not fit into one ONNX file."""
    size_bytes = sum(tensor.numel() * 4 for tensor in module.state_dict().values())
    if size_bytes >= MAX_PROTOBUF_BYTES:
        raise InputError(f"{what}: the weights have {size_bytes / 2**30:.1f} GiB, but an ONNX file holds at most 2 GiB")


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a file is written in."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _write(
    module: nn.Module, path: Path, meta: Mapping[str, Any], form: Form, example: Feed, *, opset: int, name: Path
) -> None:
    """Trace and write, with the metadata inside."""
    # The TorchScript exporter takes 0.4 s for mbf where the torch.export one takes 9 s and logs what it lacks, and
    # writes opset 18 whatever it is asked for; torch is bounded below the version that may drop it, and its warning to
    # that effect is not the user's concern.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                tuple(torch.from_numpy(example[key]) for key in form.inputs),
                str(path),
                dynamo=False,
                opset_version=opset,
                input_names=list(form.inputs),
                output_names=list(form.outputs),
                dynamic_axes={key: dict(axes) for key, axes in (form.inputs | form.outputs).items()},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{name}: not written, this network has no form in opset {opset} ({reason})") from error
    model = onnx.load(path)
    if (written := opset_of(model)) != opset:
        raise ParityError(f"{name}: not written, the exporter made opset {written} where {opset} was asked for")
    set_meta(model, meta)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _largest_difference(module: nn.Module, path: Path, form: Form, compared: Iterable[Feed], *, name: Path) -> float:
    """Run both on the same inputs; ParityError naming the batch where they differ by more than the tolerance."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kind = "relative" if form.relative else "absolute"
    largest = 0.0
    for feed in compared:
        batch = len(next(iter(feed.values())))
        with torch.inference_mode():
            wanted = module(*(torch.from_numpy(feed[key]) for key in form.inputs))
        try:
            found = session.run(list(form.outputs), dict(feed))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            reason = str(error)[:200]
            raise ParityError(f"{name}: not written, ONNX Runtime fails at batch {batch}: {reason}") from error
        for found_BX, wanted_BX in zip(found, (wanted,) if isinstance(wanted, Tensor) else wanted, strict=True):
            wanted_BX = wanted_BX.numpy()
            if found_BX.shape != wanted_BX.shape:
                raise ParityError(
                    f"{name}: not written, batch {batch} gives {found_BX.shape}, PyTorch {wanted_BX.shape}"
                )
            difference = float(np.abs(found_BX - wanted_BX).max())
            if form.relative:
                difference /= max(float(np.abs(wanted_BX).max()), 1e-30)
            if not difference <= form.tolerance:  # also true for NaN
                raise ParityError(
                    f"{name}: not written, ONNX Runtime differs from PyTorch by {difference:.1e} ({kind}) "
                    f"at batch {batch}; at most {form.tolerance:.0e} is accepted"
                )
            largest = max(largest, difference)
    return largest
