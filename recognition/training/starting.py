"""A run that starts from another model: its backbone, and its class centres for the identities that persist.

K classes of this rank's shard, C of all, N classes asked for, c centres of each, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from recognition.checkpoint.arcface_torch import open_arcface_torch, rank_files
from recognition.checkpoint.layout import STATE, find_checkpoint, is_checkpoint
from recognition.config import TrainConfig
from recognition.errors import InputError
from recognition.head import PartialFC
from recognition.head.stored import CentersOnDisk
from recognition.runtime import Runtime
from recognition.training.class_map import FRESH, old_labels
from recognition.training.state import stored_shards
from recognition.weights import embedding_size_of, read_weights, require_same_tensors

# Classes at a time that are read and put in place.
_BLOCK_CLASSES = 4096


class StoredCenters(Protocol):
    """Class centres on disk, of whatever model."""

    num_classes: int
    embedding_size: int
    subcenters: int

    def centers_of(self, classes_N: np.ndarray) -> Tensor:
        """Centres float32 (N, c, D) of any classes, int64 (N,) in [0, num_classes)."""


def start_from(
    cfg: TrainConfig, backbone: nn.Module, head: PartialFC, runtime: Runtime, log: Callable[[str], None]
) -> None:
    """Give a new run the weights that `cfg.init` names, and the class centres that `cfg.class_map` says; else nothing.

    Optimizers start fresh. `log` gets, on the main rank, a line on what was taken. InputError, equal on all ranks but
    for files that one of them alone cannot read, where the model does not fit the config.
    """
    if cfg.init is None:
        return
    path = load_backbone_into(backbone, cfg)
    lines = [f"init: backbone of {path}"]
    if cfg.class_map is None:
        lines.append(f"all {cfg.num_classes} class centres start fresh")
    else:
        persisting = load_centers_into(head, stored_centers(cfg.init, runtime), cfg)
        lines.append(
            f"class centres of {persisting} identities persist, {cfg.num_classes - persisting} start fresh "
            f"(class_map={cfg.class_map})"
        )
    if runtime.is_main:
        log("; ".join(lines))


def load_backbone_into(backbone: nn.Module, cfg: TrainConfig) -> Path:
    """Copy the weights that `cfg.init` names into `backbone`; returns their file.

    InputError where they are of another network, embedding size or picture size.
    """
    path, state, stored = read_weights(backbone_source(cfg.init))
    sizes = {key: stored.get(key) for key in ("embedding_size", "image_size")}
    sizes["embedding_size"] = sizes["embedding_size"] or embedding_size_of(state)
    for key, size in sizes.items():
        if size not in (None, getattr(cfg, key)):
            raise InputError(
                f"init: {path} has {key}={size}, but the run has {key}={getattr(cfg, key)}; "
                f"set {key}={size} or start from another model"
            )
    require_same_tensors(backbone.state_dict(), state, network=cfg.network, path=path)
    backbone.load_state_dict(state)
    return path


def backbone_source(init: str) -> Path:
    """What `read_weights` should read for `init`; InputError where there is nothing of the kind."""
    path = Path(init)
    if not path.exists():
        raise InputError(f"init={init} does not exist; name a run, a checkpoint, or a file with weights")
    if path.is_dir() and 0 in (ranks := rank_files(path)):
        return ranks[0]  # before a model.pt beside it: that may be of a later run, and the class centres are not
    return path


def load_centers_into(head: PartialFC, stored: StoredCenters, cfg: TrainConfig) -> int:
    """Copy stored centres into the rows of this rank's shard, for classes that persist; returns how many do in all."""
    for what, found, wanted in (
        ("embedding_size", stored.embedding_size, cfg.embedding_size),
        ("sub_centers", stored.subcenters, head.centers.subcenters),
    ):
        if found != wanted:
            raise InputError(f"init: the class centres of {cfg.init} have {what}={found}, those of the run {wanted}")
    olds_C = old_labels(cfg.class_map, num_classes=cfg.num_classes, num_old=stored.num_classes)
    olds_K = olds_C[head.class_start : head.class_start + head.num_local]
    persisting_N = np.flatnonzero(olds_K != FRESH)
    head.flush()
    for start in range(0, len(persisting_N), _BLOCK_CLASSES):
        local_N = persisting_N[start : start + _BLOCK_CLASSES]
        place_centers(head, torch.from_numpy(local_N), stored.centers_of(olds_K[local_N]))
    return int(np.count_nonzero(olds_C != FRESH))


@torch.no_grad()
def place_centers(head: PartialFC, local_N: Tensor, centers_NcD: Tensor) -> None:
    """Make these the centres of local classes of a flushed head that has taken no step; their momentum stays zero."""
    table_KCPD = head.centers.table_KCPD
    table_KCPD[local_N.to(table_KCPD.device), :, 0] = centers_NcD.to(table_KCPD)


def stored_centers(init: str, runtime: Runtime) -> StoredCenters:
    """The class centres that `init` has; InputError where it has none."""
    path = Path(init)
    if path.is_dir() and rank_files(path):
        return open_arcface_torch(path, runtime=runtime)
    if is_checkpoint(path):
        checkpoint = find_checkpoint(path)
        return CentersOnDisk(stored_shards(checkpoint), seed=checkpoint.document(STATE)["config"]["seed"])
    raise InputError(
        f"init={init} is a backbone without class centres, and class_map asks for some; "
        f"leave class_map out, or name a checkpoint"
    )
