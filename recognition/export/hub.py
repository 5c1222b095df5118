"""A model folder as Hugging Face has them: weights, config.json, preprocessor_config.json, a card; ONNX beside.

It is written here and works here; to upload it is the user's own act.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from recognition.atomic import write_text
from recognition.errors import InputError
from recognition.export.card import LIBRARY, model_card
from recognition.export.origin import Origin
from recognition.export.precisions import portable
from recognition.weights import save_backbone

WEIGHTS, CONFIG, PREPROCESSOR, CARD = "model.safetensors", "config.json", "preprocessor_config.json", "README.md"
ONNX = Path("onnx", "model.onnx")  # others beside it: onnx/model-int8.onnx
CONFIG_KEYS = ("network", "embedding_size", "image_size", "channel_order", "mean", "std", "params", "step", "sha256")


def require_model_folder(folder: Path, license_name: str = "unknown") -> None:
    """InputError unless `folder` is new, ours or holds `onnx` only, and the license is an identifier."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--hub {folder} is a file; name a folder")
    others = {entry.name for entry in folder.iterdir()} - {ONNX.parts[0]} if folder.is_dir() else set()
    if others and _model_type(folder / CONFIG) != LIBRARY:
        raise InputError(f"--hub {folder} holds other files; name a new folder, a run keeps its own config.json")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license_name):
        raise InputError(f"--license {license_name} is no identifier; give one as Hugging Face lists them, e.g. mit")


def write_model_folder(
    folder: Path,
    module: nn.Module,
    meta: Mapping[str, Any],
    origin: Origin,
    *,
    license_name: str = "unknown",
    datasets: Sequence[str] = (),
) -> None:
    """Write the weights, both configs and, last, the card into `folder`; ONNX files that lie in it are named there.

    `meta` is that of `load_backbone`. InputError as in `require_model_folder`.
    """
    require_model_folder(folder, license_name)
    meta = portable(meta)
    save_backbone(folder / WEIGHTS, module, {key: value for key, value in meta.items() if key != "sha256"})
    write_text(folder / CONFIG, _json({"model_type": LIBRARY, **{k: meta[k] for k in CONFIG_KEYS if k in meta}}))
    write_text(folder / PREPROCESSOR, _json(preprocessor_config(meta)))
    onnx_files = sorted(path.relative_to(folder).as_posix() for path in (folder / ONNX.parent).glob("*.onnx"))
    card = model_card(
        folder.resolve().name, meta, origin, license_name=license_name, datasets=datasets, onnx_files=onnx_files
    )
    write_text(folder / CARD, card)


def preprocessor_config(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Pixels -> input in the words of Hugging Face: (pixel / 255 - image_mean) / image_std for each channel."""
    return {
        "do_convert_rgb": True,
        "channel_order": meta["channel_order"],
        "do_resize": False,
        "size": {"height": meta["image_size"], "width": meta["image_size"]},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [meta["mean"] / 255] * 3,
        "image_std": [meta["std"] / 255] * 3,
    }


def _model_type(config: Path) -> str | None:
    try:
        return json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
