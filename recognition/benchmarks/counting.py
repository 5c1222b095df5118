"""What a step asks of others: collectives between the ranks, and reads that make the host wait for the device.

Both are counted where they are called, so that a CPU run shows what a GPU run would wait for. Not seen: what other
threads do, copies of pageable host memory to a device, and kernels that wait inside themselves.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# The shape of the result depends on the values, or the result is a number of Python's.
WAITING = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "nonzero_numpy",
    "repeat_interleave",
    "_unique",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "bincount",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
# These leave no trace in the dispatcher where all tensors are on the host. `numpy` is not among them: it refuses the
# tensor of a device, so that whatever it is called on is on the host in any run.
COPIES = {Tensor.cpu, Tensor.tolist}
_TORCH = Path(torch.__file__).parent


class Counts:
    """Calls since the block was entered: collectives by name, reads by name and line of code.

    `host` tensors live on the host in any run and may be read.
    """

    def __init__(self, host: Iterable[Tensor] = ()) -> None:
        self.collectives: Counter[str] = Counter()
        self.host_reads: Counter[str] = Counter()
        self._host = {tensor.untyped_storage().data_ptr() for tensor in host}
        self._stack = ExitStack()

    def __enter__(self) -> Counts:
        self._stack.enter_context(_Copies(self))
        self._stack.enter_context(_Operators(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def read(self, name: str, tensors: Sequence[Any]) -> None:
        """Count a read unless it reads what is on the host anyway."""
        first = next((tensor for tensor in tensors if isinstance(tensor, Tensor)), None)
        if first is None or first.untyped_storage().data_ptr() not in self._host:
            self.host_reads[f"{name} in {_line_outside_torch()}"] += 1


class _Operators(TorchDispatchMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        namespace, name = func.namespace, func._schema.name.split("::")[1]
        if namespace == "c10d":
            self.counts.collectives[name.strip("_")] += 1
        elif namespace == "aten" and (name in WAITING or (name in INDEXING and _has_mask(args[1]))):
            self.counts.read(name, args)
        return func(*args, **(kwargs or {}))


class _Copies(TorchFunctionMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in COPIES or (func is Tensor.to and _to_host(args[1:], kwargs)):
            self.counts.read(func.__name__, args)
        return func(*args, **kwargs)


def _line_outside_torch() -> str:
    """File and line of the innermost caller that is neither torch nor this file."""
    frame = sys._getframe(1)
    while frame.f_back and (frame.f_code.co_filename == __file__ or _TORCH in Path(frame.f_code.co_filename).parents):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _to_host(args: Sequence[Any], kwargs: dict) -> bool:
    """True where `.to(...)` names the CPU outright; a device that was passed in may be any."""
    return any(isinstance(target, str) and target == "cpu" for target in (*args, *kwargs.values()))
