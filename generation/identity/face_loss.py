"""The identity loss that trains: 1 - cosine between two pictures' faces, with the gradient to the second one's pixels.

A frozen recogniser (ArcFace, Deng et al., arXiv:1801.07698) as a loss, as in pSp (Richardson et al., arXiv:2008.00951).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from os import PathLike

import torch
from torch import Tensor, nn

from generation.backbone import FrozenBackbone
from generation.detection import FaceFinder, open_finder
from generation.identity.comparison import BBOX, DETECT, PACK, FaceComparison, Features
from generation.identity.gate import FaceLossDetails
from generation.identity.pictures import GivenPictures, Pictures, require_img01
from recognition.backbones import require_known
from recognition.errors import InputError
from recognition.runtime import pick_device


class DifferentiableFaceLoss(nn.Module):
    """1 - cosine between the embeddings of each picture's face and its reference's: 0 for one person, 2 at most.

    `pretrained_path`: weights of the recogniser `model_name`, anything that recognition opens; or `backbone`, one that
    is open already. `finder`: a FaceFinder, or what `open_finder` takes: "buffalo_l" (with `root`), a detector's .onnx,
    a .json of boxes. `align_mode`, `margin` and `gen_face_source`: see `FaceComparison`. `layer_weights`: five numbers
    of 0 and more, of the recogniser's four stages, averaged over the crop, and of its embedding, whose distances are
    then averaged by them; None: the embedding alone.

    Nothing in it is trained. Where the face is, is a constant: no gradient flows into a detector. Over ranks, each
    takes the mean of its own valid samples. InputError for unknown names, weights that do not fit, a detector that is
    not there.
    """

    def __init__(
        self,
        model_name: str = "r50",
        pretrained_path: str | PathLike | None = None,
        device: str | torch.device = "cuda",
        *,
        align_mode: str = BBOX,
        finder: FaceFinder | str | PathLike = PACK,
        root: str | PathLike | None = None,
        margin: float = 1.2,
        gen_face_source: str = DETECT,
        layer_weights: Sequence[float] | None = None,
        backbone: FrozenBackbone | None = None,
    ) -> None:
        super().__init__()
        if layer_weights is not None and len(layer_weights) != 5:
            raise InputError(
                f"layer_weights={list(layer_weights)}: give five, of layer1 to layer4 and of the embedding"
            )
        self.uses_layers = layer_weights is not None
        device = pick_device(str(device))
        self.backbone = _opened(model_name, pretrained_path) if backbone is None else backbone
        self.backbone.to(device)
        self.comparison = FaceComparison(
            self._features,
            finder if callable(finder) else open_finder(finder, root),
            self.backbone.image_size,
            align_mode,
            margin,
            gen_face_source,
            (1.0,) if layer_weights is None else tuple(layer_weights),
        )

    def forward(
        self,
        ref_images: Tensor,
        gen_images: Tensor,
        data_type: Sequence[str] | None = None,
        ref_keys: Sequence[Hashable] | None = None,
        return_details: bool = False,
        *,
        gen_keys: Sequence[str] | None = None,
        weight_B: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, FaceLossDetails]:
        """The mean over valid samples, a scalar of at least float32; with `return_details` also what became of each.

        `ref_images`, `gen_images`: img01 (B, 3, H, W) RGB, each of one size. `data_type`: one a sample; all but
        "person" and "person_head" are left out. `ref_keys`: names of the references, for each of which detector and
        recogniser run once as long as this object lives; `gen_keys`: those of the pictures, for finders that go by
        name. `weight_B`: factors, see `time_weight`; samples of weight 0 are left out. A picture without a face is left
        out with a warning. Where all are, the loss is 0 on the graph, so that ranks stay in step. InputError for
        pictures that are not in [0, 1].
        """
        require_img01(gen_images, "gen_images", decoded=True)
        return self.of_pictures(
            ref_images,
            GivenPictures(gen_images),
            data_type,
            ref_keys,
            return_details,
            gen_keys=gen_keys,
            weight_B=weight_B,
        )

    def of_pictures(
        self,
        ref_images: Tensor,
        pictures: Pictures,
        data_type: Sequence[str] | None = None,
        ref_keys: Sequence[Hashable] | None = None,
        return_details: bool = False,
        *,
        gen_keys: Sequence[str] | None = None,
        weight_B: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, FaceLossDetails]:
        """As `forward`, of pictures that come in another form than pixels."""
        require_img01(ref_images, "ref_images")
        loss, details = self.comparison(
            ref_images.detach(),
            pictures,
            data_type=data_type,
            ref_keys=ref_keys,
            gen_keys=gen_keys,
            weight_B=weight_B,
        )
        return (loss, details) if return_details else loss

    @property
    def skipped(self) -> Counter[str]:
        """How many samples were left out so far, by reason."""
        return self.comparison.skips.counts

    def _features(self, crop_NCSS: Tensor) -> Features:
        crop_NCSS = crop_NCSS.to(self.backbone.device)  # references may still lie on the CPU
        if not self.uses_layers:
            return (self.backbone(crop_NCSS),)
        taps = self.backbone.taps(crop_NCSS)
        return (*(layer.mean((2, 3)) for layer in taps.layers), taps.emb_BD)


def _opened(model_name: str, pretrained_path: str | PathLike | None) -> FrozenBackbone:
    require_known(model_name)
    if pretrained_path is None:
        raise InputError(
            "the face loss needs a trained recogniser: give pretrained_path, the weights of your own training run or "
            "of arcface_torch; without weights it would compare noise"
        )
    return FrozenBackbone.open(pretrained_path, model_name)
