"""How alike the embeddings of two models are, and what a file with rounded numbers has to reach to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recognition.data.transforms import to_input
from recognition.errors import InputError
from recognition.export.onnx_file import BATCHES, INPUT, ParityError
from recognition.onnx_session import open_session

BATCH_SIZE = 32


@dataclass(frozen=True)
class Agreement:
    """Cosines of the embeddings of the same pictures by two models: their mean, the smallest, and of how many."""

    mean: float
    minimum: float
    pictures: int

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"cosine_mean": self.mean, "cosine_min": self.minimum, "pictures": self.pictures}


@dataclass(frozen=True)
class Gate:
    """The smallest mean and the smallest single cosine to float32 with which a file is kept."""

    mean: float
    minimum: float


# fp16: trained mbf and r_tiny have 1 - cosine below 1e-6 for every picture, so that 1e-4 is a fault and not rounding.
# int8: trained mbf, mbf_tiny and r_tiny reach a mean of 0.998 and a minimum of 0.996; the file whose products overflow
# (int8.py) a mean of 0.95 and less.
GATES: Mapping[str, Gate] = {"fp16": Gate(mean=0.9999, minimum=0.9999), "int8": Gate(mean=0.98, minimum=0.95)}


def cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """Cosine of row n of `a` and row n of `b`, float64 (N,); NaN where a row is zero or not finite."""
    a_ND, b_ND = a_ND.astype(np.float64), b_ND.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a_ND * b_ND).sum(1) / (np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1))


def agreement(emb_ND: np.ndarray, wanted_ND: np.ndarray) -> Agreement:
    """Of the same N pictures by two models; NaN where one of the embeddings has no direction."""
    cosines_N = cosines(emb_ND, wanted_ND)
    return Agreement(float(cosines_N.mean()), float(cosines_N.min()), len(cosines_N))


def network_input(images_NHWC: np.ndarray) -> np.ndarray:
    """uint8 pictures -> float32 (N, 3, H, W) in [-1, 1], by the very function that training uses."""
    return to_input(torch.from_numpy(images_NHWC)).contiguous().numpy()


def embeddings_of(path: Path, images_NHWC: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Embeddings (N, D) that ONNX Runtime gives for uint8 pictures; `path` is a file that this package wrote."""
    session = open_session(path, threads=torch.get_num_threads())
    batches = range(0, len(images_NHWC), batch_size)
    parts = [network_input(images_NHWC[start : start + batch_size]) for start in batches]
    return np.concatenate([session.run(None, {INPUT: x_BCHW})[0] for x_BCHW in parts])


def require_agreement(path: Path, wanted_ND: np.ndarray, images_NHWC: np.ndarray, gate: Gate, what: str) -> Agreement:
    """The agreement of the file at `path` with the embeddings that float32 gives.

    ParityError, beginning with `what`, below the gate, for NaN, and where a batch of 1, 2 or 7 fails or falls below it.
    """
    try:
        found = agreement(embeddings_of(path, images_NHWC), wanted_ND)
        for batch in BATCHES:
            few = agreement(embeddings_of(path, images_NHWC[:batch], batch), wanted_ND[:batch])
            if not few.minimum >= gate.minimum:
                raise ParityError(
                    f"{what}: not written, a batch of {batch} has a cosine of {few.minimum:.4f} to float32; "
                    f"at least {gate.minimum:g} is accepted"
                )
    except InputError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise ParityError(f"{what}: not written, ONNX Runtime fails on it: {str(error)[:200]}") from error
    if not (found.mean >= gate.mean and found.minimum >= gate.minimum):  # also true for NaN
        raise ParityError(
            f"{what}: not written, over {found.pictures} pictures the cosine to float32 is {found.mean:.4f} in the "
            f"mean and {found.minimum:.4f} at least; {gate.mean:g} and {gate.minimum:g} are accepted"
        )
    return found
