"""What a training run puts into a checkpoint, by file, and the backbone that any reader finds there.

replicated.safetensors            backbone, optimizer, objective, moving average, loss scale, the vote's counters
rank-00000-of-00008.safetensors   a rank's class centres, BatchNorm statistics and random state
state.json                        step, position in the stream of samples, best result, shards, config
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recognition.checkpoint.folder import WHOLE, listed
from recognition.checkpoint.manifest import DamagedCheckpoint
from recognition.checkpoint.opening import Checkpoint, newest_checkpoint, open_checkpoint
from recognition.checkpoint.tensors import TensorFile
from recognition.errors import InputError
from recognition.log import LOG
from recognition.runtime import Runtime

FOLDER = "checkpoints"  # in a run directory
REPLICATED, STATE = "replicated.safetensors", "state.json"
BACKBONE, AVERAGE = "backbone.", "average."


def rank_file(rank: int, world: int) -> str:
    """Name of a rank's file in a checkpoint."""
    return f"rank-{rank:05d}-of-{world:05d}.safetensors"


def rank_files(checkpoint: Checkpoint) -> list[TensorFile]:
    """The files of the ranks that wrote the checkpoint, in rank order."""
    world = checkpoint.document(STATE)["world"]
    return [checkpoint.tensor_file(rank_file(rank, world)) for rank in range(world)]


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a checkpoint, or a run directory or folder with some, by names alone."""
    return path.is_dir() and bool(WHOLE.fullmatch(path.name) or listed(path) or listed(path / FOLDER))


def find_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint that `path` is, or the newest sound one in that folder or run directory; InputError if none."""
    if WHOLE.fullmatch(path.name):
        return open_checkpoint(path)
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    found = newest_checkpoint(folder, Runtime(), LOG.warning)
    if found is None:
        raise InputError(f"{path} holds no checkpoint")
    return found


def backbone_state(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict of the backbone to use, the moving average where there is one, and network and sizes.

    Statistics of BatchNorm are the mean over the ranks, as in the models that a run keeps.
    """
    replicated, ranks = checkpoint.tensor_file(REPLICATED), rank_files(checkpoint)
    names = replicated.keys()
    prefix = AVERAGE if any(name.startswith(AVERAGE) for name in names) else BACKBONE
    state = {name.removeprefix(prefix): replicated.get(name) for name in names if name.startswith(prefix)}
    for name in ranks[0].keys():  # noqa: SIM118 (not a dict)
        if name.startswith(prefix):
            state[name.removeprefix(prefix)] = mean_over_ranks([file.get(name) for file in ranks])
    config = checkpoint.document(STATE).get("config")
    if not isinstance(config, dict):
        raise DamagedCheckpoint(f"{checkpoint.path / STATE} has no config: it is no checkpoint of a training run")
    return state, {key: config[key] for key in ("network", "embedding_size", "image_size")}


def mean_over_ranks(values: list[Tensor]) -> Tensor:
    """Mean of what ranks have of a running statistic; of counters, the first rank's."""
    return torch.stack(values).mean(0) if values[0].is_floating_point() else values[0]
