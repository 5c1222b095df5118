"""The references of a run: their pictures, and where their faces are and what they look like, found once and kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generation.detection import FaceFinder, Found, PrecomputedFinder, open_finder
from generation.identity.comparison import REFERENCE, FaceComparison, Reference
from generation.identity.wrappers import DifferentiableFaceLossWrapper
from generation.lora.cache import Cache, key_of
from generation.lora.config import LoraConfig
from generation.lora.models import Models
from generation.lora.pictures import read_picture
from generation.lora.rows import Row
from recognition.embedding.network import file_sha256
from recognition.errors import InputError
from recognition.weights import weights_sha256

KIND = "faces"
_FEATURES = "features."


def face_loss_of(cfg: LoraConfig, models: Models, device: torch.device) -> DifferentiableFaceLossWrapper:
    """The identity loss that the config describes, on latents of the run's VAE; InputError where it cannot be had."""
    return DifferentiableFaceLossWrapper(
        models.vae,
        cfg.arcface_weights,
        cfg.arcface_model,
        device,
        align_mode=cfg.face_align_mode,
        finder=open_finder(cfg.detector, cfg.root),
        gen_face_source=cfg.gen_face_source,
        vae_checkpointing=cfg.vae_checkpointing,
        vae_window=cfg.face_window,
    )


class References:
    """Pictures of references, and what the recogniser knows of each; from the cache where it is there.

    Names are the paths in the list of samples: the finder, and the loss, know pictures by them.
    """

    def __init__(self, comparison: FaceComparison, recogniser_sha256: str, image_size: int, cache: Cache) -> None:
        self.comparison, self.recogniser_sha256, self.image_size = comparison, recogniser_sha256, image_size
        self.cache = cache
        self.depends_on = (recogniser_sha256, comparison.align_mode, comparison.margin, comparison.size, image_size)

    @classmethod
    def of(cls, wrapper: DifferentiableFaceLossWrapper, image_size: int, cache: Cache) -> References:
        """Those of a face loss."""
        backbone = wrapper.face_loss.backbone
        digest = backbone.facts.get("sha256") or weights_sha256(backbone.network.state_dict())
        return cls(wrapper.face_loss.comparison, digest, image_size, cache)

    def learn(self, name: str, path: Path) -> bool:
        """Let the loss know the face in a reference; whether it has one. InputError for a damaged picture."""
        if name not in self.comparison.known:
            key = key_of(file_sha256(path), _facts(self.comparison.finder, name), *self.depends_on)
            tensors = self.cache.get_or_make(KIND, key, lambda: self._found(name, path))
            self.comparison.known[name] = _reference(tensors)
        return self.comparison.known[name].found is not None

    def finder_sha256(self, samples: Iterable[Row]) -> str:
        """What tells the finder apart by what it finds in these samples: its network, or the boxes that it knows."""
        finder = self.comparison.finder
        if not _goes_by_names(finder):
            return key_of(repr(finder))
        names = {name for row in samples for name in (row.image, row.ref_image) if name is not None}
        return key_of([_facts(finder, name) for name in sorted(names)])

    def picture_keys(self, names: list[str]) -> list[str] | None:
        """The names by which the finder knows the pictures to learn; None where it looks for itself.

        InputError where it knows by name, has to, and knows nothing of one.
        """
        finder = self.comparison.finder
        if not _goes_by_names(finder):
            return None
        unknown = next((name for name in names if name not in finder.faces), None)
        if unknown is None:
            return names
        if self.comparison.gen_face_source == REFERENCE:
            return None
        raise InputError(
            f"{finder.where}: nothing is known of {unknown!r}; add it, null where it shows no face, or set "
            "gen_face_source=reference"
        )

    def _found(self, name: str, path: Path) -> dict[str, Tensor]:
        (reference,) = self.comparison.learn(read_picture(path, self.image_size, fills=False)[None], [name])
        return _tensors(reference)


def _goes_by_names(finder: FaceFinder) -> bool:
    return isinstance(finder, PrecomputedFinder)


def _facts(finder: FaceFinder, name: str) -> Any:
    """All that a finder's finds in a picture depend on besides its pixels."""
    if _goes_by_names(finder):
        found = finder.faces.get(name)
        return None if found is None else _tensors(Reference(found, (0, 0)))
    return repr(finder)


def _tensors(reference: Reference) -> dict[str, Tensor]:
    tensors = {"sides": torch.tensor(reference.sides)}
    if (found := reference.found) is not None:
        tensors |= {"box": found.box_4, "score": torch.tensor(float(found.score))}
        tensors |= {} if found.points_52 is None else {"points": found.points_52}
    for mode, features in reference.features.items():
        tensors |= {f"{_FEATURES}{mode}.{place}": feature for place, feature in enumerate(features)}
    return tensors


def _reference(tensors: dict[str, Tensor]) -> Reference:
    found = None
    if "box" in tensors:
        found = Found(tensors["box"], tensors.get("points"), float(tensors["score"]))
    features: dict[str, list[Tensor]] = {}
    for name in sorted(name for name in tensors if name.startswith(_FEATURES)):
        mode = name.removeprefix(_FEATURES).rpartition(".")[0]
        features.setdefault(mode, []).append(tensors[name])
    sides = tuple(tensors["sides"].tolist())
    return Reference(found, sides, {mode: tuple(vectors) for mode, vectors in features.items()})
