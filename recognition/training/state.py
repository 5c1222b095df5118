"""All that a run must find again to go on as if nothing had been; checkpoint/layout.py says where it lies.

What is the same on all ranks is stored once, by the main rank, after all have shown that it is the same. A restore
writes into the live tensors that a save reads: there is one list of them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recognition.checkpoint.layout import AVERAGE, BACKBONE, REPLICATED, STATE, mean_over_ranks, rank_files
from recognition.checkpoint.opening import Checkpoint
from recognition.checkpoint.tensors import TensorFile
from recognition.collectives import gather_text
from recognition.config import TrainConfig, config_json
from recognition.data.substitutes import BadRecord
from recognition.errors import InputError
from recognition.head.stored import ShardFacts, StoredShard, restore_shard, shard_facts, shard_tensors
from recognition.permutation import permutation_keys
from recognition.training.plan import Progressed
from recognition.training.step import TrainStep

RNG_CPU, RNG_CUDA = "random.cpu", "random.cuda"
_RESEED = int.from_bytes(b"reseed", "big")


@dataclass(frozen=True, eq=False)
class TrainState:
    """What `Saving` stores of a training step."""

    take_step: TrainStep
    cfg: TrainConfig

    def replicated(self) -> dict[str, Tensor]:
        """See `replicated_tensors`."""
        return replicated_tensors(self.take_step)

    def own(self) -> dict[str, Tensor]:
        """See `rank_tensors`."""
        return rank_tensors(self.take_step)

    def document(self, progressed: Progressed) -> dict[str, Any]:
        """See `state_document`."""
        return state_document(self.take_step, progressed, self.cfg)


def replicated_tensors(take_step: TrainStep) -> dict[str, Tensor]:
    """The live tensors that are equal on all ranks, by name; a restore writes into them."""
    named = dict(named_parameters(take_step))
    tensors = dict(named)
    for name, parameter in named.items():
        tensors |= optimizer_memory(take_step.optimizer, name, parameter)
    tensors |= {f"head.objective.{name}": buffer for name, buffer in take_step.head.objective.named_buffers()}
    tensors |= {f"loss_scale.{name}": tensor for name, tensor in take_step.loss_scale.tensors().items()}
    tensors |= {f"vote.{name}": tensor for name, tensor in take_step.vote.tensors().items()}
    if take_step.average is not None:
        parameters = take_step.average.module.named_parameters()
        tensors |= {AVERAGE + name: parameter for name, parameter in parameters}
        tensors["average_updates"] = take_step.average.updates
    return {name: tensor.detach() for name, tensor in tensors.items()}


def own_tensors(take_step: TrainStep) -> dict[str, Tensor]:
    """The live tensors of this rank alone, centres left out: running statistics of backbone and moving average."""
    tensors = {BACKBONE + name: buffer for name, buffer in take_step.backbone.named_buffers()}
    if take_step.average is not None:
        tensors |= {AVERAGE + name: buffer for name, buffer in take_step.average.module.named_buffers()}
    return tensors


def rank_tensors(take_step: TrainStep) -> dict[str, Tensor]:
    """All that this rank alone stores."""
    take_step.head.active.wait()
    tensors = own_tensors(take_step) | shard_tensors(take_step.head.centers) | {RNG_CPU: torch.get_rng_state()}
    if take_step.runtime.device.type == "cuda":
        tensors[RNG_CUDA] = torch.cuda.get_rng_state(take_step.runtime.device)
    return tensors


def state_document(take_step: TrainStep, progressed: Progressed, cfg: TrainConfig) -> dict[str, Any]:
    """What people and a resume read first; a collective, equal on all ranks."""
    runtime, head = take_step.runtime, take_step.head
    shards = gather_text(json.dumps(shard_facts(head.centers)), runtime)
    return {
        **asdict(progressed),
        "world": runtime.world,
        "num_classes": head.num_classes,
        "shards": [dict(zip(ShardFacts._fields, json.loads(text))) for text in shards],
        "config": json.loads(config_json(cfg)),
    }


def progressed_of(document: Mapping[str, Any]) -> Progressed:
    """How far the run had come that wrote `document`."""
    # Checkpoints of earlier versions have no list.
    bad_records = tuple(BadRecord(**record) for record in document.get("bad_records", ()))
    return Progressed(document["step"], document["samples"], document["best"], tuple(document["losses"]), bad_records)


def restore(take_step: TrainStep, checkpoint: Checkpoint) -> None:
    """Take up where `checkpoint` was written; on another number of ranks, statistics become the mean over its ranks.

    InputError when it does not hold what this run needs.
    """
    runtime, document = take_step.runtime, checkpoint.document(STATE)
    if document["num_classes"] != take_step.head.num_classes:
        raise InputError(
            f"{checkpoint.path} has {document['num_classes']} class centres, the run {take_step.head.num_classes}"
        )
    replicated, file = replicated_tensors(take_step), checkpoint.tensor_file(REPLICATED)
    # What thaws with the very step that is next had no memory yet, and begins from zero.
    for name in _memory_of_thawed(take_step) - set(file.keys()):
        del replicated[name]
    fill_tensors(replicated, file)
    files = rank_files(checkpoint)
    restore_shard(take_step.head.centers, stored_shards(checkpoint), takes_all=take_step.head.active.takes_all)
    if len(files) == runtime.world:
        own = files[runtime.rank]
        fill_tensors(own_tensors(take_step), own)
        torch.set_rng_state(own.get(RNG_CPU))
        if runtime.device.type == "cuda" and RNG_CUDA in own.keys():  # noqa: SIM118 (not a dict)
            torch.cuda.set_rng_state(own.get(RNG_CUDA), runtime.device)
        return
    for name, tensor in own_tensors(take_step).items():
        tensor.copy_(mean_over_ranks([file.get(name) for file in files]))
    key = permutation_keys(_RESEED, take_step.cfg.seed, document["step"], runtime.rank)[0]
    torch.manual_seed(int(key >> 1))


def stored_shards(checkpoint: Checkpoint) -> list[StoredShard]:
    """The class centres in a checkpoint."""
    facts, files = checkpoint.document(STATE)["shards"], rank_files(checkpoint)
    return [StoredShard(ShardFacts(**fact), file.keys(), file.rows, file.get) for fact, file in zip(facts, files)]


def named_parameters(take_step: TrainStep) -> itertools.chain[tuple[str, nn.Parameter]]:
    """Parameters of the backbone and of the objective, by name."""
    backbone = ((BACKBONE + name, parameter) for name, parameter in take_step.backbone.named_parameters())
    objective = ((f"head.objective.{name}", p) for name, p in take_step.head.objective.named_parameters())
    return itertools.chain(backbone, objective)


def optimizer_memory(optimizer: torch.optim.Optimizer, name: str, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What the optimizer remembers of a parameter, by name."""
    state = optimizer.state.get(parameter, {})
    return {f"optimizer.{name}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}


def _memory_of_thawed(take_step: TrainStep) -> set[str]:
    """Names of what the optimizer remembers of parameters that were frozen in earlier steps."""
    frozen = set(take_step.freezing.parameters) if take_step.freezing is not None else set()
    named = ((name, parameter) for name, parameter in named_parameters(take_step) if parameter in frozen)
    return {key for name, parameter in named for key in optimizer_memory(take_step.optimizer, name, parameter)}


def fill_tensors(tensors: Mapping[str, Tensor], file: TensorFile) -> None:
    """Copy every tensor of that name from the file; InputError where it is missing or has another shape."""
    names = set(file.keys())
    for name, tensor in tensors.items():
        if name not in names:
            raise InputError(f"{file.path} lacks {name!r}, which this run needs; does its config fit?")
        value = file.get(name)
        if value.shape != tensor.shape:
            raise InputError(
                f"{file.path}: {name!r} has shape {tuple(value.shape)}, the run needs {tuple(tensor.shape)}"
            )
        tensor.copy_(value)
