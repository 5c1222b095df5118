"""A TorchScript archive -> a network, once `torchscript_gate` has found that it is one and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from recognition.embedding.network import Network, which_output, width_of
from recognition.embedding.torchscript_gate import require_loadable, require_runnable
from recognition.errors import InputError


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, by what is in it: its suffix may be `.pt`, `.ts` or any other."""
    try:
        with ZipFile(path) as archive:
            entries = {name.partition("/")[2].lower() for name in archive.namelist()}
    except (OSError, BadZipFile, ValueError, NotImplementedError):
        return False
    return "constants.pkl" in entries and any(entry.startswith("code/") for entry in entries)


def open_torchscript(path: Path, device: torch.device) -> Network:
    """The archive's `forward`, in eval mode on `device`; nothing of it runs that a network does not need.

    Such a file does not say which size or normalisation it wants. InputError for an archive that is damaged, that would
    run something as it is loaded, or that uses other operators than networks do.
    """
    archive = path.read_bytes()
    require_loadable(archive, str(path))
    try:
        # Of the bytes that were looked at: the file could be another by now.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(BytesIO(archive), map_location=device).eval()
        if not module._c._has_method("forward"):
            raise InputError(f"{path} has no forward, so it is no network")
        forward = module._c._get_method("forward")  # by itself, without the hooks that may come with the archive
        graph = forward.inlined_graph
    except RuntimeError as error:
        raise InputError(f"{path} cannot be loaded by torch {torch.__version__} ({_reason(error)})") from error
    require_runnable(graph, str(path))
    given = list(graph.inputs())[1:]
    if not given or str(given[0].type()) != "Tensor":
        kinds = ", ".join(str(value.type()) for value in given) or "nothing"
        raise InputError(f"{path} takes {kinds}; a recogniser takes one batch of pictures")
    facts: dict[str, Any] = {"format": "torchscript", "file": str(path), "file_sha256": sha256(archive).hexdigest()}
    facts["params"] = sum(parameter.numel() for parameter in module.parameters())
    facts["ran_on"] = str(device)
    dtype = next((value.dtype for value in module.parameters() if value.is_floating_point()), torch.float32)
    facts["input"] = {"dtype": str(dtype).removeprefix("torch."), "layout": "NCHW"}
    return Network(_runner(forward, dtype, path), None, facts, module=module)


def _runner(forward: Callable, dtype: torch.dtype, path: Path) -> Callable[[Tensor], Tensor]:
    def run(x_BCHW: Tensor) -> Tensor:
        try:
            found = forward(x_BCHW.to(dtype))
        except RuntimeError as error:
            shape = tuple(x_BCHW.shape)
            raise InputError(f"{path} fails on input {shape} ({_reason(error)}); is this its size?") from error
        outputs = _tensors(found)
        widths = [width_of(value.shape) if value.ndim and len(value) == len(x_BCHW) else 0 for value in outputs]
        chosen = which_output(widths)
        if chosen is None:
            shapes = ", ".join(str(tuple(value.shape)) for value in outputs) or "no tensor"
            raise InputError(f"{path} gives {shapes} for {len(x_BCHW)} pictures: not one embedding each")
        return outputs[chosen].reshape(len(x_BCHW), -1).float()

    return run


def _tensors(found: Any) -> list[Tensor]:
    """The tensors among what a network returned: one, or several in a tuple, list or dict."""
    if isinstance(found, Tensor):
        return [found]
    values = found.values() if isinstance(found, dict) else found if isinstance(found, tuple | list) else []
    return [value for value in values if isinstance(value, Tensor)]


def _reason(error: BaseException) -> str:
    """The last line of torch's message, which says what went wrong; those before it quote the program."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:160]
