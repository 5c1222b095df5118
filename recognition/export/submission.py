"""Would a challenge of the kind of InsightFace's MFR take this ONNX file? Rule by rule, each with the figure.

Such a challenge runs a file on its own machine: what it cannot run, what it runs too slowly, and what makes embeddings
that cannot be compared is found out here first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from recognition.data.transforms import to_input
from recognition.embedding.models import Embedder, open_embedder
from recognition.embedding.onnx_graph import normalisation_inside
from recognition.embedding.onnx_model import INPUT_TYPES
from recognition.errors import InputError
from recognition.export.agreement import cosines
from recognition.export.latency import latencies_ms
from recognition.export.stored import load_graph, size_bytes
from recognition.onnx_session import open_session
from recognition.provenance import cpu_model

SAME = 1e-4  # of the length of an embedding: float32 sums in another order differ by a hundredth of it


@dataclass(frozen=True)
class Limits:
    """What the challenge allows; `latency_ms` for one picture, None where it is only measured."""

    size_bytes: int = 2**30
    embedding_size: int = 512
    image_size: int = 112
    latency_ms: float | None = None
    threads: int = 1


@dataclass(frozen=True)
class Verdict:
    """One rule, whether it is kept, and the figure that decided."""

    rule: str
    passed: bool
    figure: str

    def line(self) -> str:
        """For the console."""
        return f"{'pass' if self.passed else 'FAIL'}  {self.rule}: {self.figure}"


def check_submission(path: Path, images_NHWC: np.ndarray, limits: Limits) -> Iterator[Verdict]:
    """The verdicts in the order of the rules, as they are reached; `images_NHWC`: at least 4 faces, uint8 RGB.

    A file whose input or output is no recogniser's ends the list there. InputError for what is no ONNX file at all.
    """
    if not path.is_file():
        raise InputError(f"model {path} does not exist")
    graph = load_graph(path)
    found = size_bytes(path)
    yield Verdict(f"at most {limits.size_bytes / 2**20:g} MiB", found <= limits.size_bytes, f"{found / 2**20:.1f} MiB")
    session = open_session(path, threads=limits.threads)
    inputs, batch = _inputs(session, limits)
    yield inputs
    if not inputs.passed:
        return
    try:
        model = open_embedder(path)
        faces_ND = _embeddings(model, images_NHWC)
    except InputError as error:
        yield Verdict("gives an embedding for each picture", False, str(error))
        return
    length = faces_ND.shape[1]
    yield Verdict(
        f"embeddings of at most {limits.embedding_size} numbers", length <= limits.embedding_size, str(length)
    )
    yield _normalisation(graph, model)
    yield _finite(model, images_NHWC, faces_ND)
    again_ND = _embeddings(model, images_NHWC)
    yield Verdict("the same picture twice gives the same", bool(np.array_equal(faces_ND, again_ND)), "bit for bit")
    yield _alone(model, images_NHWC, faces_ND)
    yield _lengths(faces_ND)
    yield _tells_apart(faces_ND)
    yield _latency(path, batch, limits)


def _inputs(session: onnxruntime.InferenceSession, limits: Limits) -> tuple[Verdict, int | None]:
    """One input, N x 3 x S x S, N free or 1; and N where it is fixed."""
    side = limits.image_size
    entries = session.get_inputs()
    shown = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in entries)
    rule = f"one float input of N x 3 x {side} x {side}, N free or 1"
    shape = entries[0].shape
    batch = shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else None
    fits = (
        len(entries) == 1
        and len(shape) == 4
        and list(shape[1:]) == [3, side, side]
        and batch in (None, 1)
        and entries[0].type in INPUT_TYPES
    )
    return Verdict(rule, fits, shown), batch


def _normalisation(graph: onnx.ModelProto, model: Embedder) -> Verdict:
    """What happens to pixel values, by the graph: its own first operators, or else outside of the file."""
    rule, inside = "pixel values are scaled once", normalisation_inside(graph)
    stated = f"mean {model.facts['mean']}, std {model.facts['std']}, {model.facts['channel_order']}"
    if inside is None:
        return Verdict(rule, True, f"outside of the file, by {stated}")
    why = inside[1]
    plain = not any(model.preprocess.mean) and set(model.preprocess.std) == {1.0}
    return Verdict(rule, plain, why if plain else f"{why}, but they are scaled outside, too, by {stated}")


def _finite(model: Embedder, images_NHWC: np.ndarray, faces_ND: np.ndarray) -> Verdict:
    shape = (1, *images_NHWC.shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, (4, *shape[1:]), np.uint8)
    kinds = {"black": np.zeros(shape, np.uint8), "white": np.full(shape, 255, np.uint8), "noise": noise}
    embeddings = {"faces": faces_ND} | {kind: _embeddings(model, images) for kind, images in kinds.items()}
    bad = [kind for kind, emb_ND in embeddings.items() if not np.isfinite(emb_ND).all()]
    return Verdict("every number is finite", not bad, f"not for {', '.join(bad)}" if bad else ", ".join(embeddings))


def _alone(model: Embedder, images_NHWC: np.ndarray, faces_ND: np.ndarray) -> Verdict:
    """Each picture by itself against all of them at once."""
    alone_ND = np.concatenate([_embeddings(model, images_NHWC[n : n + 1]) for n in range(len(images_NHWC))])
    difference = float(np.abs(alone_ND - faces_ND).max() / max(np.linalg.norm(faces_ND, axis=1).max(), 1e-30))
    return Verdict(
        "a picture's embedding does not depend on its batch",
        difference <= SAME,
        f"differs by {difference:.1e} of its length at a batch of 1 and of {len(images_NHWC)}; "
        f"at most {SAME:g} is accepted",
    )


def _lengths(faces_ND: np.ndarray) -> Verdict:
    """f(x) + f(mirrored x) is the embedding that is compared; of unit vectors it would weigh both views alike."""
    lengths_N = np.linalg.norm(faces_ND, axis=1)
    spread = float(np.ptp(lengths_N) / max(lengths_N.mean(), 1e-30))
    return Verdict(
        "embeddings are not brought to one length inside",
        spread > SAME,
        f"lengths from {lengths_N.min():.4g} to {lengths_N.max():.4g}",
    )


def _tells_apart(faces_ND: np.ndarray) -> Verdict:
    first, second = np.triu_indices(len(faces_ND), 1)
    largest = float(cosines(faces_ND[first], faces_ND[second]).max())
    return Verdict("other faces give other embeddings", largest < 1 - SAME, f"largest cosine of two {largest:.4f}")


def _latency(path: Path, batch: int | None, limits: Limits) -> Verdict:
    side = limits.image_size
    (found,) = latencies_ms([path], batch or 1, size=(side, side), threads=limits.threads)
    threads = "1 thread" if limits.threads == 1 else f"{limits.threads} threads"
    allowed = "no limit given" if limits.latency_ms is None else f"at most {limits.latency_ms:g} ms"
    return Verdict(
        f"time for one picture, {allowed}",
        limits.latency_ms is None or found <= limits.latency_ms,
        f"{found:.2f} ms with {threads} of {cpu_model()}",
    )


def _embeddings(model: Callable[[torch.Tensor], torch.Tensor], images_NHWC: np.ndarray) -> np.ndarray:
    return model(to_input(torch.from_numpy(images_NHWC))).numpy()
