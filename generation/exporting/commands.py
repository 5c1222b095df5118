"""What launch/export.py does with a run of launch/stargan.py: write the files asked for, and their table."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from generation.embedding import embed_with
from generation.exporting.comparison import compare_generators, table
from generation.exporting.generator_file import export_generator
from generation.exporting.int8 import write_dynamic, write_static
from generation.exporting.pictures import PICTURES, open_calibration_pictures
from generation.run_folder import newest
from generation.stargan.checkpoint import FORMAT, GENERATOR, StarGANCheckpoint, read_checkpoint
from generation.stargan.measures import identity_measures, inception_measures
from recognition.errors import InputError
from recognition.export.calibration import drawn_faces
from recognition.export.graph import meta_of
from recognition.export.int8 import require_scale_for_each_channel
from recognition.export.precisions import path_of
from recognition.export.stored import load_graph
from recognition.export.table import write_table
from recognition.weights import read_torch_file

PRECISIONS = ("fp32", "int8")
NOT_OURS = ("network", "hub", "targets", "compare", "check", "json", "report")
ONNX32, STATIC, DYNAMIC = "ONNX float32", "ONNX int8, static", "ONNX int8, dynamic (not kept)"


def stargan_checkpoint_at(path: Path) -> StarGANCheckpoint | None:
    """The checkpoint where `path` is one of launch/stargan.py, or a folder of its run; None for any other model."""
    found = newest(path) if path.is_dir() else path
    if found is None or found.suffix != ".pth" or not found.is_file():
        return None
    content = read_torch_file(found, mapped=True)
    is_ours = isinstance(content, dict) and str(content.get("format", "")).startswith(FORMAT.rpartition(".")[0])
    if is_ours:
        return read_checkpoint(found)
    if found.name == GENERATOR:
        raise InputError(
            f"{found} holds weights alone, without the names of the attributes; give the run's folder or a checkpoint"
        )
    return None


def write_generator(given: argparse.Namespace, checkpoint: StarGANCheckpoint) -> None:
    """The ONNX file of each precision, each only once it agrees, and the table of them; InputError before any work."""
    precisions = given.precision or ["fp32"]
    _require_possible(given, precisions, checkpoint)
    calibration = None
    if given.calibrate is not None:
        count = given.calibration_pictures or PICTURES
        crop_size = checkpoint.settings["crop_size"]
        calibration = open_calibration_pictures(
            given.calibrate, count=count, image_size=checkpoint.image_size, crop_size=crop_size
        )
    embed = None if given.recogniser is None else embed_with(given.recogniser)
    ema = not given.no_ema
    # Of a few pictures the other figures of Inception say little; FID is in the table for who knows what it is of.
    fid = [measure for measure in inception_measures(given.inception) if measure.key == "fid"]
    with TemporaryDirectory(prefix="arcscale-export-") as name:
        folder = Path(name)
        source = given.out if "fp32" in precisions else folder / "source.onnx"
        difference = export_generator(checkpoint, source, ema=ema, opset=given.opset, any_size=given.any_size)
        if "fp32" in precisions:
            print(
                f"{source}: generator of epoch {checkpoint.epoch}, fp32, opset {given.opset}, {_mb(source)}; differs "
                f"from PyTorch by at most {difference:.1e} at batches 1, 2, 7 and all kinds of attributes",
                flush=True,
            )
        files = {ONNX32: source}
        if "int8" in precisions:
            files[STATIC] = path_of(given.out, "int8")
            found = write_static(source, files[STATIC], calibration, folder)
            print(
                f"{files[STATIC]}: generator of epoch {checkpoint.epoch}, int8, {_mb(files[STATIC])}; PSNR to fp32 "
                f"{found['psnr_db_mean']:.1f} dB in the mean, {found['psnr_db_min']:.1f} at least, of "
                f"{found['pictures']} pictures",
                flush=True,
            )
        if not given.table:
            return
        if "int8" in precisions:
            files[DYNAMIC] = folder / "dynamic.onnx"
            write_dynamic(source, files[DYNAMIC])
        comparison = compare_generators(
            checkpoint.generator(ema),
            files,
            drawn_faces(size=checkpoint.image_size) if calibration is None else calibration.checked_NHWC,
            [*fid, *identity_measures(embed, given.recogniser)],
            threads=given.threads,
            repeats=given.repeats,
            facts=meta_of(load_graph(source)),
            pictures="drawn faces" if calibration is None else calibration.facts["set"],
        )
    print(table(comparison), end="")
    print(f"table: {given.table} and {write_table(given.table, table(comparison), comparison.facts())}")


def _require_possible(given: argparse.Namespace, precisions: list[str], checkpoint: StarGANCheckpoint) -> None:
    for option in NOT_OURS:
        if getattr(given, option):
            raise InputError(
                f"--{option} is for recognisers, and {checkpoint.path} is a generator of launch/stargan.py"
            )
    if given.out is None:
        raise InputError(f"{checkpoint.path} is a generator of launch/stargan.py: say where to with --out FILE.onnx")
    for precision in precisions:
        if precision not in PRECISIONS:
            raise InputError(f"--precision {precision} is for recognisers; a generator has {' and '.join(PRECISIONS)}")
    if "int8" not in precisions:
        return
    if given.calibrate is None:
        raise InputError(
            "int8 needs pictures like those that will be edited, to learn which values occur; name a folder of them, "
            "or the set that the run was trained on, with --calibrate"
        )
    require_scale_for_each_channel(given.opset)


def _mb(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
