"""The identity distance that judges: any recogniser file, InsightFace's packs included, without a gradient."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from generation.detection import FaceFinder, open_finder
from generation.identity.comparison import DETECT, KPS, PACK, FaceComparison, Features
from generation.identity.gate import FaceLossDetails
from generation.identity.pictures import GivenPictures, Pictures, require_img01
from generation.packs import PACKS, RECOGNITION, is_pack, recogniser_of
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.faces.alignment import SIZE
from recognition.runtime import pick_device


class ArcFaceLoss:
    """1 - cosine between the faces of pictures and of their references, for reports: nothing of it has a gradient.

    `model_name`: a pack of InsightFace ("buffalo_l", or its directory, with `root`), of which the recogniser is taken,
    or any model that `recognition.embedding.open_embedder` opens, such as an .onnx that this project exported.
    `finder`: a FaceFinder, or what `open_finder` takes; None: the pack's own detector, buffalo_l's where the model is
    no pack.
    `align_mode` "kps" is what recognisers are trained on; see `FaceComparison` for the rest.

    Judge with another recogniser than the one that trained: a picture can learn to please one network alone.
    """

    def __init__(
        self,
        model_name: str | PathLike = PACK,
        root: str | PathLike | None = None,
        *,
        finder: FaceFinder | str | PathLike | None = None,
        align_mode: str = KPS,
        margin: float = 1.2,
        gen_face_source: str = DETECT,
        device: str | torch.device = "cpu",
    ) -> None:
        model, own_finder = _model_of(model_name, root)
        finder = own_finder if finder is None else finder
        self.embedder = open_embedder(model, device=pick_device(str(device)))
        size = self.embedder.size or (SIZE, SIZE)
        if size[0] != size[1]:
            raise InputError(f"{model} takes {size[1]}x{size[0]} pixels; a face is compared in a square")
        self.comparison = FaceComparison(
            self._features,
            finder if callable(finder) else open_finder(finder, root),
            size[0],
            align_mode,
            margin,
            gen_face_source,
        )

    def __call__(
        self,
        ref_images: Tensor,
        gen_images: Tensor,
        data_type: Sequence[str] | None = None,
        ref_keys: Sequence[Hashable] | None = None,
        return_details: bool = False,
        *,
        gen_keys: Sequence[str] | None = None,
    ) -> Tensor | tuple[Tensor, FaceLossDetails]:
        """The mean over valid samples, a scalar; NaN where there are none, since 1 - loss is reported as a similarity.

        Arguments as of `DifferentiableFaceLoss`: img01 (B, 3, H, W).
        """
        require_img01(gen_images, "gen_images", decoded=True)
        pictures = GivenPictures(gen_images)
        return self.of_pictures(ref_images, pictures, data_type, ref_keys, return_details, gen_keys=gen_keys)

    @torch.no_grad()
    def of_pictures(
        self,
        ref_images: Tensor,
        pictures: Pictures,
        data_type: Sequence[str] | None = None,
        ref_keys: Sequence[Hashable] | None = None,
        return_details: bool = False,
        *,
        gen_keys: Sequence[str] | None = None,
    ) -> Tensor | tuple[Tensor, FaceLossDetails]:
        """As the call itself, of pictures that come in another form than pixels."""
        require_img01(ref_images, "ref_images")
        loss, details = self.comparison(ref_images, pictures, data_type=data_type, ref_keys=ref_keys, gen_keys=gen_keys)
        if not details.valid_B.any():
            loss = torch.full_like(loss, math.nan)
        return (loss, details) if return_details else loss

    def _features(self, crop_NCSS: Tensor) -> Features:
        return (self.embedder(crop_NCSS * 2 - 1),)


def _model_of(model_name: str | PathLike, root: str | PathLike | None) -> tuple[Path, str | PathLike]:
    """The recogniser's file or run directory, and the detector that goes with it."""
    model = Path(model_name)
    of_pack = is_pack(model.name) or any((model / pack.files[RECOGNITION]).is_file() for pack in PACKS.values())
    return (recogniser_of(model_name, root), model_name) if of_pack else (model, PACK)
