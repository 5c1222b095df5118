"""Backbone weights on disk: safetensors that say what they are, and `.pt` files as arcface_torch has them."""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from recognition.atomic import replacing
from recognition.backbones import backbone_names, build_backbone
from recognition.checkpoint.layout import backbone_state, find_checkpoint, is_checkpoint
from recognition.data.transforms import INPUT_FACTS
from recognition.errors import InputError

META_KEY = "arcscale"  # of the safetensors header and of ONNX metadata; its value is JSON
IN_RUN_DIRECTORY = ("model.safetensors", "best.safetensors", "model.pt")
# Where training programs put a backbone's state dict when the file holds more than that.
INNER_KEYS = ("state_dict_backbone", "state_dict", "backbone", "model")
WRAPPER_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
KEYS_OF_EMBEDDING = ("features.running_mean", "features.layers.3.running_mean", "feature.3.running_mean")
KEY_OF_FAMILY = {"layer1.0.conv1.weight": "r", "layers.0.layers.0.weight": "mbf", "patch_embed.proj.weight": "vit"}


def save_backbone(path: str | PathLike, module: nn.Module, meta: dict[str, Any]) -> None:
    """Write the weights whole or not at all: `.safetensors` with `meta` in its header, or a plain `.pt` state dict.

    `meta` is JSON (network, embedding_size, image_size, channel_order, mean, std, step, accuracy, ...); the SHA-256 of
    the weights is added to it.
    """
    path = Path(path)
    state = plain_state(module)
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"{path}: weights are written as .safetensors or .pt; choose one of these suffixes")
    if path.suffix != ".safetensors":
        write_torch_file(path, state)
        return
    text = json.dumps({**meta, "sha256": weights_sha256(state)})
    with _writing(path) as partial:
        save_file(state, partial, metadata={"format": "pt", META_KEY: text})


def write_torch_file(path: Path, content: Any) -> None:
    """What torch.save writes, whole or not at all; InputError or OSError where there is no room."""
    with _writing(path) as partial:
        torch.save(content, partial)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """As `replacing`; neither library says "disk full" with an OSError, nor which file it was."""
    try:
        with replacing(path) as partial:
            yield partial
    except (SafetensorError, RuntimeError) as error:
        free = f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB are free there"
        raise InputError(f"{path} could not be written, {free}; make room ({_first_line(error)})") from error


def load_backbone(path: str | PathLike, network: str | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network of a file or run directory, in eval mode on the CPU, and say what is known about it.

    `network` names the architecture where the weights do not tell it. InputError names what does not fit.
    """
    path, state, stored = read_weights(path)
    network = network or stored.get("network") or network_of(state)
    if network is None:
        raise InputError(f"{path} fits no network known here; name it with --network (it has {_listed(state)})")
    embedding_size = stored.get("embedding_size") or embedding_size_of(state)
    if embedding_size is None:
        raise InputError(f"{path} holds no face backbone: no last BatchNorm among {_listed(state)}")
    image_size = stored.get("image_size") or 112
    with torch.device("meta"):
        module = build_backbone(network, embedding_size, image_size=image_size)
    require_same_tensors(module.state_dict(), state, network=network, path=path)
    # assign: the tensors just read become the parameters, so nothing is drawn at random first and nothing is copied.
    module.load_state_dict(state, assign=True)
    meta = {
        "params": sum(parameter.numel() for parameter in module.parameters()),
        **INPUT_FACTS,
        **stored,
        "network": network,
        "embedding_size": embedding_size,
        "image_size": image_size,
        "sha256": weights_sha256(state),
        "file": str(path),
    }
    return module.eval().requires_grad_(False), meta


def read_weights(path: str | PathLike) -> tuple[Path, dict[str, Tensor], dict[str, Any]]:
    """The file, run directory or checkpoint that a path stands for, its state dict and what it says of itself.

    InputError where there is none, or it is damaged.
    """
    path = Path(path)
    if is_checkpoint(path) and not any((path / name).is_file() for name in IN_RUN_DIRECTORY):
        checkpoint = find_checkpoint(path)
        return checkpoint.path, *backbone_state(checkpoint)
    path = _weights_file(path)
    return path, *_read(path)


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict on the CPU, contiguous, under the keys of the bare network."""
    return {_bare(key): tensor.detach().cpu().contiguous() for key, tensor in module.state_dict().items()}


def weights_sha256(state: dict[str, Tensor]) -> str:
    """SHA-256 over key, type, shape and bytes of every tensor in the order of the keys' names."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def network_of(state: dict[str, Tensor]) -> str | None:
    """The name of the network with exactly these tensors; the plainest where several have them, None without one."""
    family = next((prefix for key, prefix in KEY_OF_FAMILY.items() if key in state), None)
    embedding_size = embedding_size_of(state)
    if family is None or embedding_size is None:
        return None
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    names = [name for name in backbone_names() if name.startswith(family)]
    for name in sorted(names, key=lambda name: name == "r2060"):  # its thousand blocks take a second to build: last
        with torch.device("meta"):
            candidate = build_backbone(name, embedding_size).state_dict()
        if {key: tuple(tensor.shape) for key, tensor in candidate.items()} == shapes:
            return name
    return None


def read_torch_file(path: Path, *, mapped: bool = False) -> Any:
    """What torch.save wrote, on the CPU, as long as it is tensors, numbers, texts and containers of these.

    `mapped` leaves the tensors in the file until they are used. InputError for anything else, and for a damaged file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors (a whole pickled network?), or is damaged: refused, nothing was executed; "
            "where it comes from, store it with torch.save(model.state_dict(), FILE)"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a place before the file's beginning
            raise
        raise InputError(f"{path} is not a readable PyTorch file; is it complete, and a .pt or .pth?") from error


def _weights_file(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"model {path} does not exist")
        return path
    for name in IN_RUN_DIRECTORY:
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path} holds no model: neither {', '.join(IN_RUN_DIRECTORY)} nor a checkpoint is in it")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and stored metadata; for a .pt the latter comes from the run's config.json, if it lies in a run."""
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_torch_file(path)
    for key in INNER_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} holds no state dict of a network; expected tensors by name")
    return {_bare(str(key)): tensor for key, tensor in content.items()}, _config_beside(path)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            stored = json.loads((file.metadata() or {}).get(META_KEY, "{}"))
            state = {_bare(key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({_first_line(error)})") from error
    if not isinstance(stored, dict):
        raise InputError(f"{path}: its {META_KEY} header is not a JSON object")
    if "sha256" in stored and stored["sha256"] != weights_sha256(state):
        raise InputError(f"{path} is damaged: its weights do not match the SHA-256 in its header; copy it again")
    return state, stored


def _config_beside(path: Path) -> dict[str, Any]:
    """Network and sizes from the config.json of the run directory that a .pt lies in; {} elsewhere."""
    config = path.with_name("config.json")
    if path.name != "model.pt" or not config.is_file():
        return {}
    try:
        stored = json.loads(config.read_text(encoding="utf-8"))
        return {key: stored[key] for key in ("network", "embedding_size", "image_size") if key in stored}
    except (ValueError, TypeError) as error:
        raise InputError(f"{config} is not a readable config ({_first_line(error)})") from error


def _bare(key: str) -> str:
    for prefix in WRAPPER_PREFIXES:
        key = key.removeprefix(prefix)
    return key


def embedding_size_of(state: dict[str, Tensor]) -> int | None:
    """Length of the embeddings: every network here ends in a BatchNorm over them; None without one."""
    return next((state[key].shape[0] for key in KEYS_OF_EMBEDDING if key in state), None)


def require_same_tensors(wanted: dict[str, Tensor], found: dict[str, Tensor], *, network: str, path: Path) -> None:
    """InputError, naming tensors, unless `found` in the file `path` has the keys and shapes that `network` wants."""
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted]
    other = [
        f"{key} is {tuple(found[key].shape)} and should be {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in found and found[key].shape != tensor.shape
    ]
    parts = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unknown", extra), ("of another shape", other))
        if names
    ]
    if parts:
        fitting = network_of(found)
        advice = f"; these are the weights of {fitting!r}" if fitting else ""
        raise InputError(f"{path} does not fit network {network!r}: tensors {', '.join(parts)}{advice}")


def _listed(state: dict[str, Tensor]) -> str:
    keys = list(state)
    return f"{len(keys)} tensors: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
