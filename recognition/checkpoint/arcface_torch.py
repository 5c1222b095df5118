"""Sets of arcface_torch's `checkpoint_gpu_{rank}.pt`, one file a rank, read as one model of any number of ranks.

K classes of a file's rank, C of all, N classes asked for, D embedding, P tensors of a class: its centre, then what the
optimizer remembers of it, as in recognition/head/centers.py. Tensors stay in their files until they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recognition.errors import InputError
from recognition.head.shards import class_range
from recognition.runtime import Runtime
from recognition.weights import read_torch_file

FILE_NAME = re.compile(r"checkpoint_gpu_(0|[1-9][0-9]*)\.pt")
# What each optimizer remembers of a parameter, in the order of the rows of our head.
SLOTS = {"sgd": ("momentum_buffer",), "adamw": ("exp_avg", "exp_avg_sq")}
# BatchNorm's, which every rank has its own of; nothing else in a state dict of these networks is no parameter.
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class _RankFile:
    path: Path
    epoch: int
    global_step: int
    backbone: dict[str, Tensor]
    centers_KD: Tensor
    optimizer: str
    # What the optimizer remembers: of the backbone's parameters in their order, and of the centres.
    backbone_memory: list[dict[str, Any]]
    centers_memory: dict[str, Any]

    @property
    def parameters(self) -> list[str]:
        return [name for name in self.backbone if name.rpartition(".")[2] not in BUFFERS]

    def slot(self, name: str) -> Tensor:
        """What the optimizer remembers of the centres (K, D) under `name`; zeros where it has taken no step yet."""
        return _slot(self.centers_memory, name, self.centers_KD, f"{self.path}: class centres")


@dataclass(frozen=True)
class ArcfaceTorchSet:
    """What the files of all ranks hold together; `optimizer` is "sgd" or "adamw".

    `backbone` is the state dict of rank 0, `buffers_by_rank` the BatchNorm statistics of each.
    """

    folder: Path
    files: tuple[_RankFile, ...]
    num_classes: int
    embedding_size: int
    subcenters = 1

    @property
    def epoch(self) -> int:
        """Epochs that were finished."""
        return self.files[0].epoch

    @property
    def global_step(self) -> int:
        """Batches that every rank has seen."""
        return self.files[0].global_step

    @property
    def optimizer(self) -> str:
        """The name of the optimizer, as in our configs."""
        return self.files[0].optimizer

    @property
    def backbone(self) -> dict[str, Tensor]:
        """State dict of the bare backbone."""
        return self.files[0].backbone

    @property
    def buffers_by_rank(self) -> list[dict[str, Tensor]]:
        """BatchNorm statistics of each rank of that run."""
        return [
            {name: tensor for name, tensor in file.backbone.items() if name.rpartition(".")[2] in BUFFERS}
            for file in self.files
        ]

    def backbone_slots(self) -> dict[str, dict[str, Tensor]]:
        """Optimizer state by parameter name, as torch's optimizers keep it; parameters that never trained have none."""
        file, slots = self.files[0], {}
        for name, memory in zip(file.parameters, file.backbone_memory):
            if memory:
                where = f"{file.path}: {name}"
                slots[name] = {
                    key: _slot(memory, key, file.backbone[name], where).float() for key in SLOTS[self.optimizer]
                }
                if self.optimizer == "adamw":
                    slots[name]["step"] = torch.tensor(float(_step(memory, where)))
        return slots

    def rows(self, start: int, stop: int) -> Tensor:
        """Centres and optimizer state, float32 (N, 1, P, D), of the classes [start, stop)."""
        tensors = [self._sliced(lambda file: file.centers_KD, start, stop)]
        tensors += [self._sliced(lambda file, key=key: file.slot(key), start, stop) for key in SLOTS[self.optimizer]]
        return torch.stack(tensors, 1)[:, None]

    def touches(self, start: int, stop: int) -> Tensor:
        """How often AdamW has updated each of the classes [start, stop), int64 (N,); 0 for SGD, which does not ask."""

        def counts(file: _RankFile) -> Tensor:
            number = _step(file.centers_memory, f"{file.path}: class centres") if self.optimizer == "adamw" else 0
            return torch.tensor(number).expand(len(file.centers_KD))

        return self._sliced(counts, start, stop, torch.int64)

    def centers_of(self, classes_N: np.ndarray) -> Tensor:
        """Centres float32 (N, 1, D) of any classes, int64 (N,) in [0, C)."""
        centers_N1D = torch.empty(len(classes_N), 1, self.embedding_size)
        for rank, file in enumerate(self.files):
            start, count = class_range(self.num_classes, len(self.files), rank)
            is_here_N = (classes_N >= start) & (classes_N < start + count)
            local_M = torch.from_numpy(classes_N[is_here_N] - start)
            centers_N1D[torch.from_numpy(is_here_N), 0] = file.centers_KD[local_M].float()
        return centers_N1D

    def _sliced(
        self, of: Callable[[_RankFile], Tensor], start: int, stop: int, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Rows [start, stop) of what `of` takes from all files, put one after another."""
        if not 0 <= start <= stop <= self.num_classes:
            raise IndexError(f"classes [{start}, {stop}) of {self.num_classes}")
        pieces = []
        for rank, file in enumerate(self.files):
            first, count = class_range(self.num_classes, len(self.files), rank)
            low, high = max(start, first) - first, min(stop, first + count) - first
            pieces.append(of(file)[min(low, count) : max(high, 0)].to(dtype))
        return torch.cat(pieces)


def rank_files(folder: str | PathLike) -> dict[int, Path]:
    """The `checkpoint_gpu_{rank}.pt` in a folder by rank; {} where there are none."""
    found = ((FILE_NAME.fullmatch(path.name), path) for path in Path(folder).iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def open_arcface_torch(
    folder: str | PathLike,
    *,
    num_classes: int | None = None,
    runtime: Runtime = Runtime(),  # noqa: B008 (frozen)
) -> ArcfaceTorchSet:
    """Open the files of all ranks in `folder`; the comparison of their backbones is shared out over our ranks.

    InputError, naming files and numbers, where ranks are missing, files are of different steps, backbones differ in
    more than BatchNorm's statistics, or the classes do not add up as a set of that many ranks (or to `num_classes`).
    """
    folder = Path(folder)
    paths = rank_files(folder)
    if not paths:
        raise InputError(f"{folder} holds no checkpoint_gpu_N.pt; name the folder that arcface_torch wrote them into")
    world = max(paths) + 1
    if len(paths) < world:
        missing = [f"checkpoint_gpu_{rank}.pt" for rank in range(min(world, 10_000)) if rank not in paths]
        raise InputError(
            f"{folder} goes up to {paths[world - 1].name}, but {world - len(paths)} files are missing: "
            f"{_listed(missing)}; bring those of all ranks, and take away what is of another run"
        )
    files = tuple(_read_rank(path) for path in paths.values())
    _require_one_moment(files)
    _require_class_ranges(folder, files, num_classes)
    _require_equal_backbones(files, runtime)
    total, embedding_size = sum(len(file.centers_KD) for file in files), files[0].centers_KD.shape[1]
    return ArcfaceTorchSet(folder, files, total, embedding_size)


def _read_rank(path: Path) -> _RankFile:
    content = read_torch_file(path, mapped=True)
    try:
        backbone, centers_KD = content["state_dict_backbone"], content["state_dict_softmax_fc"]["weight"]
        memory, groups = content["state_optimizer"]["state"], content["state_optimizer"]["param_groups"]
        own, (head,) = (group["params"] for group in groups)
        memories = [dict(memory.get(number, {})) for number in (*own, head)]
        optimizer = "adamw" if "betas" in groups[0] else "sgd"
        epoch, global_step = int(content["epoch"]), int(content["global_step"])
        is_sound = all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in backbone.items())
        if not is_sound or centers_KD.ndim != 2 or not centers_KD.is_floating_point():
            raise TypeError("weights must be tensors, class centres of two dimensions")
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is not one of arcface_torch's checkpoints: it wants epoch, global_step, state_dict_backbone, "
            f"state_dict_softmax_fc with weight, and state_optimizer over backbone and centres ({error!r})"
        ) from error
    file = _RankFile(path, epoch, global_step, backbone, centers_KD, optimizer, memories[:-1], memories[-1])
    if len(own) != len(file.parameters):
        raise InputError(
            f"{path}: its optimizer has {len(own)} parameters of the backbone, the backbone {len(file.parameters)}; "
            f"is it from a changed arcface_torch?"
        )
    return file


def _require_one_moment(files: Sequence[_RankFile]) -> None:
    first = files[0]
    for file in files[1:]:
        if (file.epoch, file.global_step) != (first.epoch, first.global_step):
            raise InputError(
                f"{file.path} is of step {file.global_step} (epoch {file.epoch}), {first.path.name} of step "
                f"{first.global_step} (epoch {first.epoch}); bring files of one step, and take away what is left over"
            )
        if file.optimizer != first.optimizer:
            raise InputError(f"{file.path} was trained by {file.optimizer}, {first.path.name} by {first.optimizer}")
        if file.centers_KD.shape[1] != first.centers_KD.shape[1]:
            raise InputError(
                f"{file.path} has class centres of {file.centers_KD.shape[1]} numbers, {first.path.name} of "
                f"{first.centers_KD.shape[1]}; they are not of one run"
            )


def _require_class_ranges(folder: Path, files: Sequence[_RankFile], num_classes: int | None) -> None:
    sizes = [len(file.centers_KD) for file in files]
    total, wanted = sum(sizes), _sizes(sum(sizes), len(sizes))
    if num_classes is not None and total != num_classes:
        problem = f"num_classes={num_classes}, but its {len(sizes)} files hold {total} classes ({_listed(sizes)})"
    elif sizes != wanted:
        problem = (
            f"its {len(sizes)} files hold {_listed(sizes)} classes, {total} in all, "
            f"of which {len(sizes)} ranks have {_listed(wanted)}"
        )
    else:
        return
    advice = "are files missing, or of another run?"
    counts = range(1, len(sizes)) if num_classes is not None else ()
    if fitting := [count for count in counts if sizes[:count] == _sizes(num_classes, count)]:
        surplus = [file.path.name for file in files[fitting[0] :]]
        advice = f"the first {fitting[0]} hold all {num_classes}: {_listed(surplus)} are surplus, take them away"
    raise InputError(f"{folder}: {problem}; {advice}")


def _require_equal_backbones(files: Sequence[_RankFile], runtime: Runtime) -> None:
    first = files[0]
    for file in files[1 + runtime.rank :: runtime.world]:
        if list(file.backbone) != list(first.backbone):
            raise InputError(f"{file.path} and {first.path.name} hold different networks; they are not of one run")
        for name in first.parameters:
            if not _same_bits(file.backbone[name], first.backbone[name]):
                raise InputError(
                    f"{file.path}: {name} is not what {first.path.name} has, their ranks had drifted apart; "
                    f"init={first.path} starts from one of them"
                )


def _sizes(num_classes: int, world: int) -> list[int]:
    return [class_range(num_classes, world, rank)[1] for rank in range(world)]


def _same_bits(first: Tensor, second: Tensor) -> bool:
    """Equality that takes NaN for equal to itself and tells 0 from -0."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    bytes_of_both = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (first, second))
    return torch.equal(*bytes_of_both)


def _slot(memory: dict[str, Any], key: str, parameter: Tensor, where: str) -> Tensor:
    """What the optimizer remembers of `parameter`, zeros (that take no memory) where it has taken no step yet."""
    found = memory.get(key)
    if found is None:
        return torch.zeros(()).expand(parameter.shape)
    if not isinstance(found, Tensor) or found.shape != parameter.shape:
        raise InputError(
            f"{where}: {key} of its optimizer does not fit {tuple(parameter.shape)}; "
            f"with init=FOLDER a run starts from the weights alone"
        )
    return found


def _step(memory: dict[str, Any], where: str) -> int:
    """AdamW's own count of its updates, a number or a tensor of one."""
    count = memory.get("step", 0)
    if isinstance(count, (int, float)) or (isinstance(count, Tensor) and count.numel() == 1):
        return int(count)
    raise InputError(f"{where}: the step of its optimizer is no number")


def _listed(items: Sequence[Any]) -> str:
    return ", ".join(map(str, items[:8])) + (", ..." if len(items) > 8 else "")
