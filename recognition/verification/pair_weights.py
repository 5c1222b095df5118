"""Other sets of the same kind as a set of pairs: its pairs, or the people on them, weighted anew at random.

Bayesian bootstrap (Rubin 1981; of ROC curves Gu, Ghosal, Roy 2008): the weights of a kind of pairs are
Dirichlet(1, ..., 1), genuine and impostor pairs apart. Where it is known who is on the pairs, people are weighted in
their place, and a pair of two people has the product of both weights (Bolle, Ratha, Pankanti 2004; Owen 2007).
Each kind has one pair, or one person, besides, that was not seen: `bootstrap.py` says why.

R resamples, P pairs, U pairs or people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recognition.errors import InputError

CHUNK_BYTES = 1 << 20  # of weights at a time: what a processor's cache holds with all that is made of them


@dataclass(frozen=True)
class Weights:
    """Of R resamples: those of the pairs of a kind, float64 (R, P), and its unseen one's, (R,), add up to 1."""

    pairs_RP: np.ndarray
    unseen_genuine_R: np.ndarray
    unseen_impostor_R: np.ndarray


def draw_weights(
    issame_P: np.ndarray, people_P2: np.ndarray | Sequence | None, *, replicates: int, seed: int
) -> Iterator[Weights]:
    """The weights of all resamples, some at a time; how many at a time changes nothing.

    `people_P2`: who is on the two pictures of each pair, numbers or text; None where pairs are to be weighted.
    InputError unless these fit the pairs and their flags.
    """
    rng = np.random.default_rng(seed)
    units = len(issame_P)
    mean_genuine = mean_impostor = 1.0
    if people_P2 is not None:
        units, first_P, second_P = _numbered(issame_P, people_P2)
        # Whoever was not seen has as many pairs as people have in the mean.
        mean_genuine = issame_P.sum() / len(np.unique(first_P[issame_P]))
        impostors_P2 = np.stack([first_P, second_P], axis=1)[~issame_P]
        mean_impostor = 2 * len(impostors_P2) / len(np.unique(impostors_P2))
    at_a_time = max(1, CHUNK_BYTES // (8 * max(units, len(issame_P))))
    for start in range(0, replicates, at_a_time):
        drawn_RU = rng.standard_exponential((min(at_a_time, replicates - start), units + 2))
        pairs_RP = drawn_RU[:, :units]
        if people_P2 is not None:
            pairs_RP = drawn_RU[:, first_P] * np.where(issame_P, 1, drawn_RU[:, second_P])
        genuine_R, impostor_R = drawn_RU[:, -2] * mean_genuine, drawn_RU[:, -1] * mean_impostor
        total_genuine_R = pairs_RP @ issame_P.astype(float) + genuine_R
        total_impostor_R = pairs_RP @ (~issame_P).astype(float) + impostor_R
        yield Weights(
            pairs_RP / np.where(issame_P, total_genuine_R[:, None], total_impostor_R[:, None]),
            genuine_R / total_genuine_R,
            impostor_R / total_impostor_R,
        )


def _numbered(issame_P: np.ndarray, people_P2: np.ndarray | Sequence) -> tuple[int, np.ndarray, np.ndarray]:
    """How many people there are, and the number of who is on the first and on the second picture of each pair."""
    names_P2 = np.asarray(people_P2)
    if names_P2.shape != (len(issame_P), 2):
        raise InputError(f"people of shape {names_P2.shape} do not fit {len(issame_P)} pairs; give two for each pair")
    names, number_P2 = np.unique(names_P2, return_inverse=True)
    first_P, second_P = number_P2.reshape(-1, 2).T
    wrong_P = (first_P == second_P) != issame_P
    if wrong_P.any():
        pair = int(np.argmax(wrong_P))
        kind = "the same person" if issame_P[pair] else "different people"
        raise InputError(
            f"pair {pair} is flagged as {kind}, but shows {names_P2[pair][0]} and {names_P2[pair][1]}; "
            f"{int(wrong_P.sum())} of {len(wrong_P)} pairs contradict their people: mend the flags or the names"
        )
    return len(names), first_P, second_P
