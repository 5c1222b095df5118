"""An ONNX file of whatever origin -> a network: its layout, batch, type of input, output and normalisation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from recognition.embedding.network import Network, file_sha256, which_output, width_of
from recognition.embedding.onnx_graph import external_files, normalisation_inside, read_graph
from recognition.embedding.preprocess import Preprocess, stored_preprocess
from recognition.errors import InputError
from recognition.onnx_session import open_session
from recognition.weights import META_KEY

INPUT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def open_onnx(path: Path, device: torch.device) -> Network:
    """A recogniser with one picture input, NCHW or NHWC, floats or bytes, of any or a fixed batch.

    On the GPU where `device` is one and ONNX Runtime has it. InputError for what is not such a model.
    """
    if not path.is_file():
        raise InputError(f"model {path} does not exist")
    graph = read_graph(path)
    beside = [] if graph is None else external_files(graph, path)
    session = open_session(path, cuda=device.type == "cuda", threads=torch.get_num_threads())
    if len(session.get_inputs()) != 1:
        names = ", ".join(entry.name for entry in session.get_inputs())
        raise InputError(f"{path} takes {len(session.get_inputs())} inputs ({names}); a recogniser takes one picture")
    entry = session.get_inputs()[0]
    layout, size = _layout(entry.shape, path)
    if entry.type not in INPUT_TYPES:
        raise InputError(f"{path} takes {entry.type}; expected float, float16, double or uint8 pictures")
    dtype = np.dtype(INPUT_TYPES[entry.type])
    batch = entry.shape[0] if isinstance(entry.shape[0], int) and entry.shape[0] > 0 else None
    output = _embedding_output(session, path)

    def run(x_BCHW: Tensor) -> Tensor:
        x = (x_BCHW if layout == "NCHW" else x_BCHW.permute(0, 2, 3, 1)).cpu().numpy()
        x = np.ascontiguousarray(np.rint(x).clip(0, 255) if dtype == np.uint8 else x, dtype)
        emb = np.concatenate([_run_batch(session, output, entry.name, part, batch) for part in _parts(x, batch)])
        return torch.from_numpy(emb.reshape(len(x), -1).astype(np.float32)).to(x_BCHW.device)

    facts = _stored_facts(session, path)
    wants, wants_from, why = _wants(facts, graph, dtype, path)
    facts |= {
        "format": "onnx",
        "file": str(path),
        "file_sha256": file_sha256(path),
        "input": {"name": entry.name, "dtype": dtype.name, "layout": layout, "batch": batch},
        "output": output,
        "outputs": {each.name: [_json_side(side) for side in each.shape] for each in session.get_outputs()},
        "ran_on": session.get_providers()[0].removesuffix("ExecutionProvider"),
    }
    if beside:
        facts["weights_beside"] = {file.name: file_sha256(file) for file in beside}
    return Network(run, size, facts, wants, wants_from, why, whole_pixels=dtype == np.uint8)


def _wants(facts: dict, graph: Any, dtype: np.dtype, path: Path) -> tuple[Preprocess, str, str]:
    """The preprocessing that the file asks for, where that was found, and why."""
    stored = stored_preprocess(facts, f"{path}: its {META_KEY} metadata")
    if dtype == np.uint8:
        return Preprocess(stored.order), "the graph", "it takes pixels as bytes, so it normalises them itself"
    if stored.mean or stored.std:
        return stored, "metadata", ""
    found = None if graph is None else normalisation_inside(graph)
    if found is None:
        return stored, "default", ""
    return stored.over(found[0]), "the graph", found[1]


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
    if not emb.ndim or emb.shape[0] != len(filled) or width_of(emb.shape) == 0:
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
    """The output that holds one vector a picture; of several, see `which_output`."""
    outputs = session.get_outputs()
    widths = [width_of(entry.shape) if entry.type != "tensor(string)" else 0 for entry in outputs]
    # Maps of unknown size may turn out to be 1x1; what comes out is looked at again.
    widths = [None if width == 0 and _may_be_one_pixel(entry.shape) else width for width, entry in zip(widths, outputs)]
    chosen = which_output(widths)
    if chosen is None:
        shapes = ", ".join(f"{entry.name} {entry.shape}" for entry in outputs)
        raise InputError(f"{path} has no embedding among its outputs ({shapes}); is it a recogniser?")
    return outputs[chosen].name


def _may_be_one_pixel(shape: list) -> bool:
    """N x D x ? x ? and the like, or nothing known at all: at most one side is known to be longer than 1."""
    return len(shape) in (0, 4) and sum(isinstance(side, int) and side > 1 for side in shape[1:]) <= 1


def _stored_facts(session: onnxruntime.InferenceSession, path: Path) -> dict[str, Any]:
    """Our own metadata when the file carries it."""
    stored = session.get_modelmeta().custom_metadata_map.get(META_KEY, "{}")
    try:
        facts = json.loads(stored)
    except ValueError as error:
        raise InputError(f"{path}: its {META_KEY} metadata is not JSON; export it again") from error
    if not isinstance(facts, dict):
        raise InputError(f"{path}: its {META_KEY} metadata is not a JSON object; export it again")
    return facts


def _json_side(side: Any) -> int | str | None:
    return side if isinstance(side, int | str) else None
