"""Any recogniser behind one call: a run directory, a checkpoint, weights, or an ONNX file of whatever origin."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from recognition.data.transforms import MEAN, STD
from recognition.errors import InputError
from recognition.onnx_session import open_session
from recognition.weights import META_KEY, load_backbone

ONNX_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


@dataclass(frozen=True)
class Embedder:
    """`embed(x_BCHW)` maps RGB pictures in [-1, 1] to float32 embeddings (B, D), whatever input the model itself wants.

    `size` is the (height, width) that the model takes, None for any; `facts` (JSON) is what is known about it.
    """

    embed: Callable[[Tensor], Tensor]
    size: tuple[int, int] | None
    facts: dict[str, Any] = field(default_factory=dict)

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        return self.embed(x_BCHW)

    def require_size(self, height: int, width: int, what: str) -> None:
        """InputError unless the model takes pictures of this size; `what` says whose size it is."""
        if self.size not in (None, (height, width)):
            own = f"{self.size[1]}x{self.size[0]}"
            raise InputError(
                f"{what} has pictures of {width}x{height} pixels, but {self.facts['file']} takes {own}; "
                f"pack the pairs at {own}"
            )


def open_embedder(
    model: str | PathLike,
    network: str | None = None,
    *,
    bgr: bool | None = None,
    mean: float | None = None,
    std: float | None = None,
    device: torch.device | str = "cpu",
) -> Embedder:
    """Open a run directory, checkpoint, `.safetensors`, `.pt`, `.pth` or `.onnx` file on `device`.

    The model sees (pixel - mean) / std in BGR or RGB. What is not given comes from the model's own metadata, else it is
    127.5, 127.5 and RGB. InputError names the file and what does not fit.
    """
    device = torch.device(device)
    if Path(model).suffix == ".onnx":
        run, size, facts = _open_onnx(Path(model), device)
    else:
        module, facts = load_backbone(model, network)
        run = module.to(device)
        size = (facts["image_size"], facts["image_size"])
    bgr = facts.get("channel_order") == "BGR" if bgr is None else bgr
    mean = float(facts.get("mean", MEAN) if mean is None else mean)
    std = float(facts.get("std", STD) if std is None else std)
    if not std:
        raise InputError("--std 0 would divide by zero; give the standard deviation in pixel values, e.g. 127.5")
    facts |= {"channel_order": "BGR" if bgr else "RGB", "mean": mean, "std": std}

    def embed(x_BCHW: Tensor) -> Tensor:
        if bgr:
            x_BCHW = x_BCHW.flip(1)
        if (mean, std) != (MEAN, STD):
            x_BCHW = (x_BCHW * STD + (MEAN - mean)) / std
        return run(x_BCHW).float()

    return Embedder(embed, size, facts)


def _open_onnx(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], tuple[int, int] | None, dict]:
    """Session, picture size and facts of a recogniser with one picture input, NCHW or NHWC, of any or a fixed batch."""
    if not path.is_file():
        raise InputError(f"model {path} does not exist")
    session = open_session(path, cuda=device.type == "cuda", threads=torch.get_num_threads())
    if len(session.get_inputs()) != 1:
        names = ", ".join(entry.name for entry in session.get_inputs())
        raise InputError(f"{path} takes {len(session.get_inputs())} inputs ({names}); a recogniser takes one picture")
    entry = session.get_inputs()[0]
    layout, size = _layout(entry.shape, path)
    if entry.type not in ONNX_TYPES:
        raise InputError(f"{path} takes {entry.type}; expected float, float16 or double pictures")
    batch = entry.shape[0] if isinstance(entry.shape[0], int) and entry.shape[0] > 0 else None
    output = _embedding_output(session, path)

    def run(x_BCHW: Tensor) -> Tensor:
        x = x_BCHW if layout == "NCHW" else x_BCHW.permute(0, 2, 3, 1)
        x = np.ascontiguousarray(x.cpu().numpy(), ONNX_TYPES[entry.type])
        emb = np.concatenate([_run_batch(session, output, entry.name, part, batch) for part in _parts(x, batch)])
        return torch.from_numpy(emb.reshape(len(x), -1).astype(np.float32)).to(x_BCHW.device)

    return run, size, _onnx_facts(session, path)


def _parts(x: np.ndarray, batch: int | None) -> list[np.ndarray]:
    return [x] if batch is None else [x[start : start + batch] for start in range(0, len(x), batch)]


def _run_batch(
    session: onnxruntime.InferenceSession, output: str, name: str, x: np.ndarray, batch: int | None
) -> np.ndarray:
    """Run one part, filled up with zeros where the model's batch is fixed."""
    filled = x if batch in (None, len(x)) else np.concatenate([x, np.zeros((batch - len(x), *x.shape[1:]), x.dtype)])
    try:
        emb = session.run([output], {name: filled})[0]
    except Exception as error:
        raise InputError(f"the ONNX model fails on input {filled.shape}: {str(error)[:160]}") from error
    if emb.shape[0] != len(filled):
        raise InputError(
            f"output {output!r} has shape {emb.shape} for {len(filled)} pictures: not one embedding each, "
            "so this is no recogniser"
        )
    return emb[: len(x)]


def _layout(shape: list, path: Path) -> tuple[str, tuple[int, int] | None]:
    """NCHW or NHWC, and the fixed (height, width) if there is one."""
    if len(shape) == 4 and (shape[1] == 3 or shape[3] == 3):
        layout, sides = ("NCHW", shape[2:]) if shape[1] == 3 else ("NHWC", shape[1:3])
        return layout, tuple(sides) if all(isinstance(side, int) and side > 0 for side in sides) else None
    raise InputError(f"{path} takes input of shape {shape}; expected pictures, N x 3 x H x W or N x H x W x 3")


def _embedding_output(session: onnxruntime.InferenceSession, path: Path) -> str:
    """The first output that can hold one vector a picture."""
    for entry in session.get_outputs():
        if len(entry.shape) == 2 or (len(entry.shape) == 4 and list(entry.shape[2:]) == [1, 1]):
            return entry.name
    shapes = ", ".join(f"{entry.name} {entry.shape}" for entry in session.get_outputs())
    raise InputError(f"{path} has no embedding among its outputs ({shapes}); is it a recogniser?")


def _onnx_facts(session: onnxruntime.InferenceSession, path: Path) -> dict[str, Any]:
    """Our own metadata when the file carries it, and always the file and its SHA-256."""
    stored = session.get_modelmeta().custom_metadata_map.get(META_KEY, "{}")
    try:
        facts = json.loads(stored)
    except ValueError as error:
        raise InputError(f"{path}: its {META_KEY} metadata is not JSON; export it again") from error
    if not isinstance(facts, dict):
        raise InputError(f"{path}: its {META_KEY} metadata is not a JSON object; export it again")
    with open(path, "rb") as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {**facts, "format": "onnx", "file": str(path), "file_sha256": digest.hexdigest()}
