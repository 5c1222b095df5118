"""What is encoded once: tensors on disk under the hash of all that they depend on, each file whole or absent."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from recognition.atomic import replacing
from recognition.checkpoint.tensors import TensorFile
from recognition.errors import InputError


class CacheNotWritten(InputError):
    """The folder of the cache takes no file: no sample is to blame, and none may be left out for it."""


class Cache:
    """Tensors by kind and key in `folder`; `made` counts, by kind, what was not there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, Counter[str]()

    def get(self, kind: str, key: str) -> dict[str, Tensor] | None:
        """What is stored, on the CPU; None where nothing is, or it is damaged: then it is made anew."""
        path = self._path(kind, key)
        if not path.is_file():
            return None
        try:
            file = TensorFile(path)
            return {name: file.get(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        except InputError:
            return None

    def get_or_make(self, kind: str, key: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """What is stored, after `make` and a store where it was not; CacheNotWritten where it cannot be."""
        found = self.get(kind, key)
        if found is None:
            found = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
            path = self._path(kind, key)
            try:
                with replacing(path) as partial:
                    save_file(found, partial)
            except (SafetensorError, OSError) as error:  # the library says "disk full" without an OSError
                reason = error.strerror if isinstance(error, OSError) else error
                raise CacheNotWritten(
                    f"{path} cannot be written ({reason}); make room there, or set cache to another folder"
                ) from error
            self.made[kind] += 1
        return found

    def _path(self, kind: str, key: str) -> Path:
        # A thousand files and more lie badly in one folder.
        return self.folder / kind / key[:2] / f"{key}.safetensors"


def key_of(*parts: object) -> str:
    """A key for what depends on these, told apart by their `repr` and order."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def finite(tensors: Mapping[str, Tensor], where: str) -> Mapping[str, Tensor]:
    """The same tensors; InputError, beginning with `where`, for numbers that are not finite."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{where}: {name} has numbers that are not finite; was its encoder run in fp16?")
    return tensors
