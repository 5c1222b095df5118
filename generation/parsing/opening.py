"""A parser from whatever file holds one: a run of ours, published weights, ONNX."""

from __future__ import annotations

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from generation.parsing.bisenet import BiSeNet
from generation.parsing.checkpoint import checked, is_checkpoint
from generation.parsing.evaluation import classes_of
from generation.parsing.export import ONNX_FORMAT
from generation.pictures import img01_of
from generation.run_folder import checkpoint_at
from generation.torch_checkpoint import fill
from recognition.errors import InputError
from recognition.heads.classes import NAMES
from recognition.onnx_session import open_session
from recognition.weights import META_KEY, WRAPPER_PREFIXES, read_torch_file

IMAGE_SIZE = 512  # that the published parsers were trained on
_RESNET18_BLOCKS = "cp.resnet.conv1.weight", "conv_out.conv_out.weight"


class Parser:
    """Pictures uint8 (H, W, 3) RGB of any size -> the class of each pixel, uint8 (H, W).

    It sees a picture at `facts["image_size"]` pixels square; the mask is brought back by the nearest pixel.
    """

    def __init__(self, classes: Callable[[np.ndarray], np.ndarray], facts: dict[str, Any]) -> None:
        self._classes, self.facts = classes, facts

    def __call__(self, pixels_HWC: np.ndarray) -> np.ndarray:
        """See the class."""
        height, width = pixels_HWC.shape[:2]
        side = self.facts["image_size"]
        if (height, width) == (side, side):
            return self._classes(pixels_HWC)
        seen = np.asarray(Image.fromarray(pixels_HWC).resize((side, side), Image.Resampling.BILINEAR))
        mask = Image.fromarray(self._classes(seen))
        return np.asarray(mask.resize((width, height), Image.Resampling.NEAREST))


def open_parser(path: str | PathLike, device: str | torch.device = "cpu") -> Parser:
    """The parser of a run's folder, a checkpoint, `79999_iter.pth` or others of that layout, or an .onnx of ours.

    InputError for a file that holds none.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        return _of_onnx(path, cuda=torch.device(device).type == "cuda")
    net, facts = open_network(path)
    net = net.to(device)
    return Parser(lambda pixels_HWC: classes_of(net, [pixels_HWC], torch.device(device))[0], facts)


def open_network(path: str | PathLike) -> tuple[BiSeNet, dict[str, Any]]:
    """The network of such a file, in evaluation, and what is known of it; `image_size` is among that.

    Where a run's folder has a best checkpoint, it is that one. InputError for a file that holds none.
    """
    path = Path(path)
    best = path / "best_model.pth"
    path = best if best.is_file() else checkpoint_at(path, "a parsing run, or published weights")
    content = read_torch_file(path)
    if is_checkpoint(content):
        checkpoint = checked(path, content)
        keys = ("image_size", "width", "enlarge")
        facts = {key: checkpoint.settings[key] for key in keys} | {
            "step": checkpoint["step"],
            "best": checkpoint["best"],
        }
        return checkpoint.parser(), {"file": str(path), "classes": checkpoint["classes"], **facts}
    state = _published(content, path)
    first, last = (state[key].shape for key in _RESNET18_BLOCKS)
    if last[0] != len(NAMES):
        raise InputError(f"{path} knows {last[0]} classes, and masks here have {len(NAMES)} (recognition/heads)")
    net = BiSeNet(last[0], width=first[0])
    fill(net, state, path)
    facts = {"file": str(path), "classes": list(NAMES), "image_size": IMAGE_SIZE, "width": first[0], "enlarge": 1}
    return net.eval().requires_grad_(False), facts


def _published(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict by their bare names."""
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if isinstance(state, dict) and all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        for prefix in WRAPPER_PREFIXES:
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        if all(key in state and state[key].ndim == 4 for key in _RESNET18_BLOCKS):
            return state
    raise InputError(
        f"{path} holds no BiSeNet of faces (no {', '.join(_RESNET18_BLOCKS)}); give 79999_iter.pth or a run"
    )


def _of_onnx(path: Path, *, cuda: bool) -> Parser:
    if not path.is_file():
        raise InputError(f"{path} does not exist; launch/parsing.py export makes one")
    session = open_session(path, cuda=cuda)
    stored = session.get_modelmeta().custom_metadata_map.get(META_KEY, "{}")
    try:
        facts = json.loads(stored)
    except ValueError:
        facts = {}
    if not isinstance(facts, dict) or facts.get("format") != ONNX_FORMAT:
        raise InputError(f"{path} is no parser that launch/parsing.py export wrote; give such a file, or the weights")
    name = session.get_inputs()[0].name

    def classes(pixels_HWC: np.ndarray) -> np.ndarray:
        img11_BCHW = (img01_of(pixels_HWC)[None] * 2 - 1).numpy()
        return session.run(None, {name: img11_BCHW})[0][0].argmax(0).astype(np.uint8)

    return Parser(classes, {**facts, "file": str(path)})
