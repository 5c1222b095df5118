"""An ONNX file -> a session that runs it."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from recognition.errors import InputError


def open_session(
    path: Path, *, content: bytes | None = None, cuda: bool = False, threads: int = 1
) -> onnxruntime.InferenceSession:
    """Session on `threads` CPU threads, or on the GPU where `cuda` is asked for and ONNX Runtime has it.

    `content`: the model, where it is not as the file has it. One session may run from many threads at once.
    InputError for what is not a model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # warnings about a stranger's graph help nobody here
    options.intra_op_num_threads = threads
    wanted = ["CUDAExecutionProvider"] if cuda else []
    providers = [name for name in [*wanted, "CPUExecutionProvider"] if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(content or str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        # The path stands before it; a long one would leave no room for the reason.
        reason = " ".join(str(error).replace(str(path), path.name).split())[:160].rstrip(". ")
        raise InputError(
            f"{path} is not a model that ONNX Runtime can run ({reason}); give an .onnx file, or copy it again"
        ) from error
