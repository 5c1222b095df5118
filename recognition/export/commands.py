"""What launch/export.py does with its arguments: write files and a folder, compare files, check one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from recognition.atomic import write_text
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.export.calibration import PICTURES, Calibration, drawn_faces, open_calibration
from recognition.export.comparison import compare_files, table, write_comparison
from recognition.export.hub import ONNX, require_model_folder, write_model_folder
from recognition.export.onnx_file import BATCHES
from recognition.export.origin import origin_of
from recognition.export.precisions import Exported, export_precisions, require_possible
from recognition.export.submission import Limits, check_submission
from recognition.runtime import Runtime
from recognition.strict_json import finite
from recognition.targets.opening import open_targets
from recognition.targets.pairs import PairsTarget
from recognition.targets.target import Options
from recognition.weights import load_backbone


def write_files(given: argparse.Namespace) -> None:
    """The ONNX files of each precision, the folder for Hugging Face, and the table of the files."""
    precisions = given.precision or (["fp32"] if given.out else [])
    outs = [out for out in (given.out, given.hub and given.hub / ONNX) if out]
    if given.model.suffix == ".onnx":
        raise InputError(f"{given.model} is an ONNX file already; --compare and --check take it as it is")
    require_possible(precisions, calibrated=given.calibrate is not None, opset=given.opset)
    for option in ("any_size", "no_ema", "recogniser", "inception"):
        if getattr(given, option):
            raise InputError(
                f"--{option.replace('_', '-')} is for generators of launch/stargan.py; {given.model} is none"
            )
    if (given.table or given.targets) and not precisions:
        raise InputError("--table and --targets measure ONNX files; ask for some with --out or --precision")
    if given.hub:
        require_model_folder(given.hub, given.license)
    module, meta = load_backbone(given.model, given.network)
    origin = origin_of(given.model, meta, given.report) if given.hub else None
    targets = _targets(given)
    calibration = _calibration(given, meta["image_size"])
    written: list[Exported] = []
    for out in outs if precisions else ():
        files = export_precisions(
            module,
            out,
            meta,
            precisions,
            calibration,
            opset=given.opset,
            tell=lambda file: print(_line(file, meta["network"]), flush=True),
        )
        written = written or files
    if given.hub:
        write_model_folder(given.hub, module, meta, origin, license_name=given.license, datasets=given.datasets or ())
        print(f"{given.hub}: model folder with its card; to upload it: hf upload USER/NAME {given.hub}")
    if given.table or given.targets:
        _compare([file.path for file in written], targets, given, calibration)


def compare(given: argparse.Namespace) -> None:
    """The table of files that exist."""
    files = [given.model, *given.compare]
    for path in files:
        if path.suffix != ".onnx":
            raise InputError(f"--compare measures ONNX files, and {path} is none; write one with --out")
    size = open_embedder(files[0]).size
    _compare(files, _targets(given), given, _calibration(given, size[0] if size else 112))


def check(given: argparse.Namespace) -> bool:
    """Print the verdict of every rule, and whether all are kept."""
    limits = Limits(
        embedding_size=given.max_embedding, image_size=given.image_size, latency_ms=given.max_ms, threads=given.threads
    )
    images_NHWC = drawn_faces(size=limits.image_size)
    if given.calibrate:
        images_NHWC = open_calibration(given.calibrate, count=32, size=limits.image_size).images_NHWC
    verdicts = []
    for verdict in check_submission(given.model, images_NHWC, limits):
        verdicts.append(verdict)
        print(verdict.line(), flush=True)
    passed = all(verdict.passed for verdict in verdicts)
    broken = sum(not verdict.passed for verdict in verdicts)
    print(
        f"{given.model}: every rule is kept" if passed else f"{given.model}: {broken} of {len(verdicts)} rules broken"
    )
    if given.json:
        facts = {"file": str(given.model), "passed": passed, "rules": [asdict(verdict) for verdict in verdicts]}
        write_text(given.json, json.dumps(finite(facts), indent=1, allow_nan=False) + "\n")
    return passed


def _targets(given: argparse.Namespace) -> list[PairsTarget]:
    """The sets of pairs that are named; InputError before any work for what is none."""
    targets = open_targets(given.targets or (), Options(replicates=0))
    for target in targets:
        if not isinstance(target, PairsTarget):
            raise InputError(f"{target.name} is no set of pairs, and the table has accuracies; use launch/verify.py")
    return targets


def _compare(
    files: Sequence[Path], targets: Sequence[PairsTarget], given: argparse.Namespace, calibration: Calibration | None
) -> None:
    images: tuple[str, np.ndarray] | None = None
    if calibration is not None and not targets:
        images = (f"pictures of {calibration.facts['set']}", calibration.checked_NHWC)
    found = compare_files(
        files, targets, runtime=Runtime(), images_NHWC=images, threads=given.threads, repeats=given.repeats
    )
    print(table(found), end="")
    if given.table:
        print(f"table: {given.table} and {write_comparison(found, given.table)}")


def _calibration(given: argparse.Namespace, size: int) -> Calibration | None:
    if given.calibrate is None:
        return None
    return open_calibration(given.calibrate, count=given.calibration_pictures or PICTURES, size=size)


def _line(file: Exported, network: str) -> str:
    """What a user wants to know of a file that was written."""
    start = f"{file.path}: {network}, {file.precision}, {file.path.stat().st_size / 1e6:.1f} MB; "
    if file.agreement is None:
        batches = ", ".join(map(str, BATCHES))
        return f"{start}differs from PyTorch by at most {file.difference:.1e} (relative) at batches {batches}"
    found = file.agreement
    return f"{start}cosine to fp32 {found.mean:.6f} in the mean, {found.minimum:.6f} at least, of {found.pictures}"
