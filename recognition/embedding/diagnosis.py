"""A model and pairs of pictures -> what is wrong with the model or the way it is fed, in sentences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from recognition.data.pictures import Pictures, pictures_at
from recognition.embedding.batch_statistics import statistics_symptoms
from recognition.embedding.finding import Finding
from recognition.embedding.models import Embedder
from recognition.embedding.network import Network
from recognition.embedding.over_ranks import embed_images, evaluating
from recognition.embedding.preprocess import OURS
from recognition.embedding.symptoms import behaviour_symptoms, embedding_symptoms
from recognition.embedding.trials import Trial, area, feeding_symptoms
from recognition.runtime import Runtime
from recognition.spread import spread
from recognition.verification.protocol import pair_distances

# Of each kind, genuine and impostor: enough that an AUC of 0.975 is told from 0.955, and few enough that all trials
# together take less than verifying the 6,000 pairs of LFW.
CHOOSING, DECIDING = 64, 384
FEW_PICTURES, SOME_PICTURES = 16, 64
SUSPICIOUS_AUC = 0.98


def diagnose(
    model: Embedder | Callable[[Tensor], Tensor],
    images: Pictures,
    issame: np.ndarray,
    *,
    runtime: Runtime,
    deep: bool = False,
    emb_ND: np.ndarray | None = None,
    batch_size: int = 64,
) -> list[Finding]:
    """What is wrong with `model` on pairs (pictures 2p and 2p+1 are those of pair p); [] of a healthy one.

    The names of findings: nan, zero_embedding, constant_embedding, collapsed, dead_dimensions, not_deterministic,
    batch_dependent, mirror_sensitive, batchnorm_drift; then channel_order, normalisation, alignment and at_chance,
    which cost some 14,000 passes and are looked for where the AUC is below 0.98 and the model is not fed just as its
    own metadata says, or always with `deep`. `emb_ND`: the embeddings of all pictures where they are there already.
    Every rank takes part and finds the same.
    """
    issame_P = np.asarray(issame, bool)
    model = model if isinstance(model, Embedder) and model.network is not None else _as_embedder(model)
    module = model.network.module
    with evaluating(module):
        return _findings(model, module, images, issame_P, runtime, deep, emb_ND, batch_size)


def _findings(
    model: Embedder,
    module: nn.Module | None,
    images: Pictures,
    issame_P: np.ndarray,
    runtime: Runtime,
    deep: bool,
    emb_ND: np.ndarray | None,
    batch_size: int,
) -> list[Finding]:
    choosing_P, deciding_P = chosen_pairs(issame_P)
    looked_at_P = np.union1d(choosing_P, deciding_P)
    rows_N = _pictures_of(looked_at_P)
    if emb_ND is None:
        probe = pictures_at(images, rows_N)
        probe_ND = embed_images(model, probe, runtime=runtime, batch_size=batch_size, title="the probe").emb_ND
        findings = embedding_symptoms(probe_ND)
    else:
        probe_ND = emb_ND[rows_N]
        findings = embedding_symptoms(emb_ND)
    some = pictures_at(images, spread(len(images), SOME_PICTURES))
    findings += statistics_symptoms(model, module, some, runtime=runtime)
    finite = np.isfinite(probe_ND).all()
    distances_P = pair_distances(probe_ND.astype(np.float64)) if finite else None
    if finite:
        genuine = float(np.median(1 - distances_P[issame_P[looked_at_P]] / 2))
        few = pictures_at(images, spread(len(images), FEW_PICTURES))
        findings += behaviour_symptoms(model, few, runtime=runtime, genuine_cosine=genuine)
    if any(finding.name in ("not_deterministic", "nan") for finding in findings) and not deep:
        return findings
    suspicious = distances_P is None or area(distances_P, issame_P[looked_at_P]) < SUSPICIOUS_AUC
    if deep or (suspicious and not _fed_as_it_says(model)):
        choose, decide = (
            Trial(
                pictures_at(images, _pictures_of(pairs)),
                issame_P[pairs],
                None if distances_P is None else distances_P[np.isin(looked_at_P, pairs)],
            )
            for pairs in (choosing_P, deciding_P)
        )
        findings += feeding_symptoms(model, choose, decide, runtime=runtime, batch_size=batch_size)
    return findings


def chosen_pairs(issame_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint sets of pairs, ascending: those that choose and those that decide, spread evenly over each kind.

    Where there are fewer than are wanted, a third of them chooses.
    """
    choosing, deciding = [], []
    for kind in (True, False):
        pairs = np.flatnonzero(issame_P == kind)
        pairs = pairs[spread(len(pairs), CHOOSING + DECIDING)]
        chooses_P = np.zeros(len(pairs), bool)
        chooses_P[spread(len(pairs), min(CHOOSING, -(-len(pairs) // 3)))] = True
        choosing.append(pairs[chooses_P])
        deciding.append(pairs[~chooses_P])
    return np.sort(np.concatenate(choosing)), np.sort(np.concatenate(deciding))


def _pictures_of(pairs: np.ndarray) -> np.ndarray:
    return np.stack([2 * pairs, 2 * pairs + 1], axis=1).reshape(-1)


def _fed_as_it_says(model: Embedder) -> bool:
    """Whether pictures are prepared as the model's metadata asks: then there is nothing to try."""
    network = model.network
    return network.wants_from == "metadata" and model.preprocess == network.wants.over(OURS)


def _as_embedder(model: Callable[[Tensor], Tensor]) -> Embedder:
    """A bare function or module of pictures in [-1, 1] as an `Embedder`, so that it can be fed otherwise."""
    module = model if isinstance(model, nn.Module) else None
    network = Network(model, None, module=module)
    return Embedder(model, None, {"normalisation_from": "default"}, network)
