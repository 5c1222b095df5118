"""One network -> an ONNX file for each precision asked for, each kept only when it agrees with float32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from recognition.atomic import replacing
from recognition.errors import InputError
from recognition.export.agreement import GATES, Agreement, embeddings_of, network_input, require_agreement
from recognition.export.calibration import Calibration, drawn_faces
from recognition.export.graph import meta_of, set_meta
from recognition.export.half import half_precision, require_headroom
from recognition.export.int8 import METHOD, eight_bits, require_scale_for_each_channel
from recognition.export.onnx_file import OPSET, export_onnx

PRECISIONS = ("fp32", "fp16", "int8")
LOCAL = ("file", "run")  # where a model lies on this machine is nobody else's concern
OF_THE_SOURCE = ("sha256", "accuracy")


@dataclass(frozen=True)
class Exported:
    """A file that was written: `difference` from PyTorch (relative, of fp32), or `agreement` with fp32 (of others)."""

    path: Path
    precision: str
    difference: float | None = None
    agreement: Agreement | None = None


def path_of(out: Path, precision: str) -> Path:
    """Where that precision goes: fp32 to `out` itself, others beside it, as in model-int8.onnx."""
    return out if precision == "fp32" else out.with_name(f"{out.stem}-{precision}{out.suffix}")


def export_precisions(
    module: nn.Module,
    out: Path,
    meta: Mapping[str, Any],
    precisions: Sequence[str],
    calibration: Calibration | None = None,
    *,
    opset: int = OPSET,
    tell: Callable[[Exported], None] = lambda _: None,
) -> list[Exported]:
    """Write `module` in each of PRECISIONS asked for, in their order; no file appears unless it passed its gate.

    `calibration` is what int8 needs and the others are judged by, drawn faces where there is none. `meta` is that of
    `load_backbone`. InputError for int8 without it; ParityError for a file that fails its gate: those before it stay.
    `tell` is called with each file as soon as it is there.
    """
    require_possible(precisions, calibrated=calibration is not None, opset=opset)
    meta = portable(meta)
    size = meta.get("image_size", 112)
    images_NHWC = drawn_faces(size=size) if calibration is None else calibration.checked_NHWC
    exported = []
    with TemporaryDirectory(prefix="arcscale-export-") as folder:
        source = Path(folder) / "source.onnx"
        difference = export_onnx(module, out if "fp32" in precisions else source, meta, opset=opset)
        if "fp32" in precisions:
            source = out
            exported.append(Exported(out, "fp32", difference=difference))
            tell(exported[-1])
        stored = meta_of(onnx.load(source))  # with what the export added: the normalisation, the SHA-256
        wanted_ND = None
        for precision in [name for name in PRECISIONS if name in precisions and name != "fp32"]:
            wanted_ND = embeddings_of(source, images_NHWC) if wanted_ND is None else wanted_ND
            path = path_of(out, precision)
            model, facts = _rounded(precision, module, source, images_NHWC, calibration, Path(folder), path)
            with replacing(path) as partial:
                found = _write(model, partial, stored | facts, wanted_ND, images_NHWC, path)
            exported.append(Exported(path, precision, agreement=found))
            tell(exported[-1])
    return exported


def require_possible(precisions: Sequence[str], *, calibrated: bool, opset: int = OPSET) -> None:
    """InputError for a precision that is not known, and for int8 without pictures to calibrate by or in old opsets."""
    for precision in precisions:
        if precision not in PRECISIONS:
            raise InputError(f"--precision {precision} is not known; there are {', '.join(PRECISIONS)}")
    if "int8" in precisions and not calibrated:
        raise InputError(
            "--precision int8 needs pictures like those that the model will see, to learn which values occur; name a "
            "training set with --calibrate, anything that rec= takes"
        )
    if "int8" in precisions:
        require_scale_for_each_channel(opset)


def portable(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a model without where it lies on this machine."""
    return {key: value for key, value in meta.items() if key not in LOCAL}


def _rounded(
    precision: str,
    module: nn.Module,
    source: Path,
    images_NHWC: np.ndarray,
    calibration: Calibration | None,
    folder: Path,
    path: Path,
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The network in that precision, and what its metadata say of how it came to be."""
    if precision == "fp16":
        plain = copy.deepcopy(module).cpu().float().to(memory_format=torch.contiguous_format)
        largest = require_headroom(plain, network_input(images_NHWC), str(path))
        return half_precision(onnx.load(source)), {"precision": "fp16", "largest_value_inside": largest}
    facts = {"precision": "int8", "quantisation": METHOD, "calibration": calibration.facts}
    return eight_bits(source, calibration.images_NHWC, folder), facts


def _write(
    model: onnx.ModelProto,
    partial: Path,
    meta: dict[str, Any],
    wanted_ND: np.ndarray,
    images_NHWC: np.ndarray,
    path: Path,
) -> Agreement:
    """Judge the file as it was written, then write it again with the verdict in its metadata."""
    precision = meta["precision"]
    set_meta(model, meta)
    onnx.checker.check_model(model)
    onnx.save(model, partial)
    found = require_agreement(partial, wanted_ND, images_NHWC, GATES[precision], str(path))
    # Hash and accuracy are those of the weights before they were rounded.
    meta = {key: value for key, value in meta.items() if key not in OF_THE_SOURCE} | {
        "source": {key: meta[key] for key in OF_THE_SOURCE if key in meta},
        "agreement": found.facts(),
    }
    set_meta(model, meta)
    onnx.save(model, partial)
    return found
