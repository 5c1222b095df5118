"""Pair sets and embeddings that tests make up: `.bin` files, embeddings with known noise."""

import pickle

import numpy as np

from recognition.verification.protocol import VerificationResult, verify_pairs
from tests.filling import fill as fill
from tests.pictures import jpeg
from tests.pictures import pil_pixels as pil_pixels


def pair_file(path, num_pairs: int = 4, size: int = 16, protocol: int = 4):
    """An honest `.bin` file; every second pair shows one person."""
    images = [jpeg(index, size) for index in range(2 * num_pairs)]
    path.write_bytes(pickle.dumps((images, [pair % 2 == 0 for pair in range(num_pairs)]), protocol))
    return path


def noisy_pairs(seed: int, noise: float, num_pairs: int = 600, dim: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings of the interop fixture's recipe, its draws in its order."""
    rng = np.random.default_rng(seed)
    issame = np.arange(num_pairs) % (num_pairs // 10) < num_pairs // 20
    first = rng.normal(size=(num_pairs, dim))
    second = np.where(issame[:, None], first, rng.normal(size=first.shape))
    embeddings = np.empty((2 * num_pairs, dim))
    embeddings[0::2] = first + noise * rng.normal(size=first.shape)
    embeddings[1::2] = second + noise * rng.normal(size=first.shape)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), issame


def result_of(distances_P: np.ndarray, issame_P: np.ndarray, folds: int = 10) -> VerificationResult:
    """The result of pairs that lie about so far apart (0 to 4): unit vectors of a plane at the angles that make it."""
    cosines_P = 1 - np.asarray(distances_P) / 2
    emb_ND = np.zeros((2 * len(cosines_P), 2))
    emb_ND[0::2] = [1, 0]
    emb_ND[1::2] = np.stack([cosines_P, np.sqrt(1 - np.square(cosines_P))], axis=1)
    return verify_pairs(emb_ND, issame_P, folds)


def normal_result(rng: np.random.Generator, num_pairs: int, gap: float, folds: int = 10) -> VerificationResult:
    """Distances N(1, 0.2) of genuine pairs, N(1 + 0.2 gap, 0.2) of as many impostors, as they are drawn."""
    issame_P = np.arange(num_pairs) % 2 == 0
    distances_P = rng.normal(np.where(issame_P, 1, 1 + 0.2 * gap), 0.2)
    return result_of(np.clip(distances_P, 0, 4), issame_P, folds)
