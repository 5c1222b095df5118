"""Tensors in the safetensors format: written in blocks, so that no second copy of any tensor is ever in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recognition.checkpoint.files import BLOCK_BYTES, Written, hashed_file
from recognition.errors import InputError

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
# The library reads no longer one.
LARGEST_HEADER_BYTES = 100_000_000


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Written:
    """Write a new safetensors file, synced to the disk; OSError with the path, InputError for a type it cannot hold."""
    names = _in_file_order(tensors)
    with hashed_file(path) as file:
        file.write(_header(path.name, names, tensors, metadata))
        for name in names:
            for block in _blocks(tensors[name].detach()):
                # A block of a GPU's memory is copied here, one of the CPU's is written from where it lies.
                file.write(memoryview(block.view(torch.uint8).cpu().numpy()))
    return file.written


def size_of_tensors(name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> int:
    """Bytes that `write_tensors` will write to the file `name`; InputError for a type it cannot hold."""
    header = _header(name, _in_file_order(tensors), tensors, metadata)
    return len(header) + sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


class TensorFile:
    """A safetensors file whose tensors are read one by one, or rows of one; InputError with the file's path.

    Tensors are views of the mapped file: copy what is to outlast it.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        try:
            self._file = safe_open(self.path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.path} is not a readable safetensors file ({error})") from error

    @property
    def metadata(self) -> dict[str, str]:
        """The texts in the file's header."""
        return self._file.metadata() or {}

    def keys(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without reading it; InputError when there is none of that name."""
        return tuple(self._slice(name).get_shape())

    def get(self, name: str) -> Tensor:
        """A whole tensor; InputError when there is none of that name."""
        try:
            return self._file.get_tensor(name)
        except SafetensorError as error:
            raise InputError(f"{self.path}: tensor {name!r} cannot be read ({error})") from error

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of a tensor, nothing else of it being read; InputError when they are not all there."""
        shape = self.shape(name)
        if not shape or not 0 <= start <= stop <= shape[0]:
            raise InputError(f"{self.path}: tensor {name!r} of shape {list(shape)} has no rows {start} to {stop}")
        if start == stop:
            return self.get(name)[start:stop]
        return self._slice(name)[start:stop]

    def _slice(self, name: str) -> object:
        try:
            return self._file.get_slice(name)
        except SafetensorError as error:
            raise InputError(f"{self.path}: tensor {name!r} cannot be read ({error})") from error


def _in_file_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Wide numbers first, so that every tensor begins at a multiple of its element size."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _header(
    file_name: str, names: list[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None
) -> bytes:
    """Length in 8 bytes and JSON, padded so that the data begins at a multiple of 8."""
    header, start = {"__metadata__": dict(metadata)} if metadata else {}, 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided or name == "__metadata__":
            kind = f"{tensor.dtype}, {tensor.layout}"
            raise InputError(f"{file_name}: tensor {name!r} ({kind}) cannot be stored as safetensors; convert it first")
        stop = start + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER_BYTES:
        raise InputError(f"{file_name}: {len(names)} tensors are too many for one file; split them over several")
    return len(text).to_bytes(8, "little") + text


def _blocks(tensor: Tensor) -> Iterator[Tensor]:
    """The elements in row-major order, as vectors of stride 1 and of at most BLOCK_BYTES."""
    if tensor.numel() == 0:
        return
    if tensor.is_contiguous():
        # Not reshape: it may leave a single element's stride at 2, say, and bytes cannot be seen through that.
        yield from tensor.as_strided((tensor.numel(),), (1,)).split(max(1, BLOCK_BYTES // tensor.element_size()))
    elif tensor.numel() * tensor.element_size() <= BLOCK_BYTES:
        yield from _blocks(tensor.contiguous())
    else:
        # Of other strides, only a block at a time is made contiguous.
        row_bytes = tensor[0].numel() * tensor.element_size()
        for rows in tensor.split(max(1, BLOCK_BYTES // row_bytes)):
            yield from _blocks(rows[0] if row_bytes > BLOCK_BYTES else rows)
