"""A generator in PyTorch and as ONNX files, side by side: size, time per picture, and what it makes of pictures.

The JSON beside the table, schema "arcscale.export.generator.1"; what cannot be measured is null:
    machine      cpu, cpu_flags, threads, onnxruntime (its version), torch, repeats
    generator    what the float32 file says of itself
    pictures     the set, how many of it, and their side
    measures     {key: title, by, why}: `why` says what is missing
    rows[]       model, file, size_bytes, size_ratio (of PyTorch's to it), latency_ms, psnr_db_mean and psnr_db_min
                 (to PyTorch's pictures), measures {key: value}
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from generation.exporting.generator_file import edit_labels
from generation.exporting.int8 import feeds, made_by, psnrs_db
from generation.metrics import as_bytes
from generation.stargan.measures import Measure, Shown, as_told, missing_lines
from generation.stargan.networks import StarGANGenerator
from recognition.export.latency import Timed, fastest_seconds
from recognition.export.onnx_file import Feed
from recognition.export.stored import size_bytes
from recognition.export.table import aligned, fixed, how_timed, machine_facts
from recognition.onnx_session import open_session
from recognition.provenance import cpu_vector_flags

SCHEMA = "arcscale.export.generator.1"
PYTORCH = "PyTorch float32"


@dataclass(frozen=True)
class Row:
    """What is known of one model; `file` is None of one that has no file of its own."""

    model: str
    file: str | None
    size_bytes: int
    size_ratio: float
    latency_ms: float
    psnr_db_mean: float | None
    psnr_db_min: float | None
    measures: Mapping[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """The rows, PyTorch's first; `pictures` says of which pictures they are."""

    rows: Sequence[Row]
    measures: Sequence[Measure]
    generator: Mapping[str, Any]
    pictures: Mapping[str, Any]
    threads: int
    repeats: int

    def facts(self) -> dict[str, Any]:
        """As the module's docstring says."""
        return {
            "schema": SCHEMA,
            "machine": machine_facts(self.threads, self.repeats)
            | {"cpu_flags": cpu_vector_flags(), "torch": torch.__version__},
            "generator": dict(self.generator),
            "pictures": dict(self.pictures),
            "measures": {measure.key: measure.facts() for measure in self.measures},
            "rows": [asdict(row) for row in self.rows],
        }


def compare_generators(
    generator: StarGANGenerator,
    files: Mapping[str, Path],
    images_NHWC: np.ndarray,
    measures: Sequence[Measure] = (),
    *,
    threads: int,
    repeats: int,
    facts: Mapping[str, Any],
    pictures: str,
) -> Comparison:
    """Measure PyTorch and `files` (by what the table calls them) on uint8 pictures, edited to random attributes.

    `measures` compare the edited pictures with those that were edited; `facts` and `pictures` say of what all is.
    """
    labels_NA = edit_labels(len(images_NHWC), facts["attributes"], exclusive=facts["exclusive"])
    wanted_NCHW = np.concatenate([run_pytorch(generator, feed) for feed in feeds(images_NHWC, labels_NA)])
    before_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float() / 255

    def row(model: str, path: Path | None, made_NCHW: np.ndarray, bytes_: int, seconds: float) -> Row:
        psnr_N = None if path is None else psnrs_db(made_NCHW, wanted_NCHW)
        after_NCHW = as_bytes(torch.from_numpy(made_NCHW).add(1).div(2))
        shown = Shown(before=before_NCHW, after=after_NCHW, back=after_NCHW, real=before_NCHW)
        return Row(
            model=model,
            file=path and path.name,
            size_bytes=bytes_,
            size_ratio=weights_bytes / bytes_,
            latency_ms=seconds * 1e3,
            psnr_db_mean=None if psnr_N is None else float(psnr_N.mean()),
            psnr_db_min=None if psnr_N is None else float(psnr_N.min()),
            measures={measure.key: measure.value(shown) for measure in measures},
        )

    weights_bytes = sum(tensor.numel() * tensor.element_size() for tensor in generator.state_dict().values())
    seconds = _seconds(generator, [*files.values()], next(feeds(images_NHWC, labels_NA, 1)), threads, repeats)
    rows = [row(PYTORCH, None, wanted_NCHW, weights_bytes, seconds[0])]
    for (model, path), each in zip(files.items(), seconds[1:], strict=True):
        rows.append(row(model, path, made_by(path, images_NHWC, labels_NA), size_bytes(path), each))
    found = {"set": pictures, "count": len(images_NHWC), "side": images_NHWC.shape[1]}
    return Comparison(rows, measures, facts, found, threads, repeats)


def table(comparison: Comparison) -> str:
    """The comparison in Markdown, readable as it is, and under it what the figures are."""
    measures = comparison.measures
    head = ["model", "MB", "smaller by", "ms/picture", "PSNR, dB", "PSNR at least", *(each.title for each in measures)]
    lines = [
        [
            row.model,
            f"{row.size_bytes / 1e6:.2f}",
            f"{row.size_ratio:.2f}",
            fixed(row.latency_ms, 1),
            fixed(row.psnr_db_mean, 1),
            fixed(row.psnr_db_min, 1),
            *(as_told(each, row.measures[each.key]) for each in measures),
        ]
        for row in comparison.rows
    ]
    facts = comparison.facts()
    flags, pictures = ", ".join(facts["machine"]["cpu_flags"]), facts["pictures"]
    explained = (
        f"{how_timed(facts['machine'])} PyTorch {facts['machine']['torch']}; of its vector instructions the CPU has "
        f"{flags or 'none that is known'}. PSNR: to what PyTorch makes of the same {pictures['count']} pictures of "
        f"{pictures['set']}, {pictures['side']} x {pictures['side']}, edited to attributes drawn at random. "
        "Distances between sets are to these pictures untouched, so few that only this table compares."
    )
    return "\n".join([*aligned([head, *lines]), "", explained, *missing_lines(measures), ""])


@torch.inference_mode()
def run_pytorch(generator: StarGANGenerator, feed: Feed) -> np.ndarray:
    """What the generator itself makes of what its files take."""
    return generator(*(torch.from_numpy(each) for each in feed.values())).numpy()


def _seconds(generator: StarGANGenerator, files: Sequence[Path], feed: Feed, threads: int, repeats: int) -> list[float]:
    """Of one picture, PyTorch's first."""

    def pytorch() -> float:
        started = time.perf_counter()
        run_pytorch(generator, feed)
        return time.perf_counter() - started

    runs: list[Callable[[], float]] = [Timed(path, open_session(path, threads=threads), feed).seconds for path in files]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return fastest_seconds([pytorch, *runs], repeats)
    finally:
        torch.set_num_threads(before)
