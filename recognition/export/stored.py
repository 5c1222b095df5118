"""What an ONNX file weighs: its own bytes, and those of the files beside it that hold its tensors."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from recognition.embedding.onnx_graph import external_files
from recognition.errors import InputError


def size_bytes(path: Path) -> int:
    """Bytes of the file and of every file that its tensors lie in; InputError where one of them is missing."""
    return sum(file.stat().st_size for file in (path, *external_files(load_graph(path), path)))


def load_graph(path: Path) -> onnx.ModelProto:
    """The model without the tensors that lie in other files; InputError for what is no ONNX file."""
    try:
        return onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise InputError(f"{path} is not an ONNX file; export it again, or copy it again") from error
