"""What an ONNX file weighs: its own bytes, and those of the files beside it that hold its tensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from recognition.errors import InputError


def size_bytes(path: Path) -> int:
    """Bytes of the file and of every file that its tensors lie in; InputError where one of them is missing."""
    total = path.stat().st_size
    for beside in sorted(set(_external(load_graph(path).graph))):
        if not (path.parent / beside).is_file():
            raise InputError(f"{path} keeps weights in {beside}, which does not lie beside it; copy both")
        total += (path.parent / beside).stat().st_size
    return total


def load_graph(path: Path) -> onnx.ModelProto:
    """The model without the tensors that lie in other files; InputError for what is no ONNX file."""
    try:
        return onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise InputError(f"{path} is not an ONNX file; export it again, or copy it again") from error


def _external(graph: onnx.GraphProto) -> Iterator[str]:
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")
