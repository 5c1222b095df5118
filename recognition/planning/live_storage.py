"""How many bytes of tensors are alive while operations run, whether the tensors are real or fake."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveStorage(TorchDispatchMode):
    """Counts, from entering on, the bytes of storages that operations make: alive now, and alive at most.

    Views share their storage and count once; what a kernel takes and returns inside one operation is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak_bytes = 0
        self._known: dict[int, weakref.ref] = {}

    def ignore(self, *tensors: torch.Tensor) -> None:
        """Leave out the storages of `tensors`, which are older than the count."""
        for tensor in tensors:
            self._add(tensor, counted=False)

    def restart_peak(self) -> int:
        """The bytes alive now, from which the next maximum starts."""
        self.peak_bytes = self.bytes
        return self.bytes

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run the operation and take in what it made."""
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, torch.Tensor):
                self._add(value)
        return result

    def _add(self, tensor: torch.Tensor, *, counted: bool = True) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if counted else 0

        def gone(_: weakref.ref) -> None:
            self.bytes -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, gone)
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, self.bytes)
