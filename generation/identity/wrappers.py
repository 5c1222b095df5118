"""Face losses on latents: what the model predicts is decoded where a face has to be looked at, and nowhere else."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from generation.identity.evaluation import ArcFaceLoss
from generation.identity.face_loss import DifferentiableFaceLoss
from generation.identity.gate import FaceLossDetails
from generation.identity.latents import SIDES, recompute_blocks
from generation.identity.pictures import LatentPictures, Pictures, WindowedPictures
from recognition.errors import InputError


class DifferentiableFaceLossWrapper(nn.Module):
    """`DifferentiableFaceLoss` of what latents decode to, with the gradient to the latents.

    `vae`: diffusers' AutoencoderKL or one like it; it is frozen here (eval, no gradient to its parameters), stays the
    caller's, and is in no state dict of this module. `arcface_weights_path` and `model_name` name the recogniser,
    `root` is where detectors lie; `side` "left" or "right" looks at that half of a diptych. `vae_checkpointing`
    recomputes the VAE's blocks in backward; `vae_window` decodes with a graph only round the face (see
    `generation.identity.window`: the same loss, nearly the same gradient, one more decode without a graph), with `halo`
    latent pixels on each side. Further arguments are those of `DifferentiableFaceLoss`.
    """

    def __init__(
        self,
        vae: nn.Module,
        arcface_weights_path: str | PathLike | None = None,
        model_name: str = "r50",
        device: str | torch.device = "cuda",
        root: str | PathLike | None = None,
        *,
        side: str | None = None,
        vae_checkpointing: bool = False,
        vae_window: bool = False,
        halo: int | None = None,
        **face_loss: Any,
    ) -> None:
        super().__init__()
        self.face_loss = DifferentiableFaceLoss(model_name, arcface_weights_path, device, root=root, **face_loss)
        _require_side(side)
        if halo is not None and (not vae_window or halo < 0):
            raise InputError(f"halo={halo} must be 0 or more latent pixels, and goes with vae_window")
        vae.requires_grad_(False).eval()
        if vae_checkpointing:
            recompute_blocks(vae)
        self.side, self.vae_window, self.halo = side, vae_window, halo
        # In a tuple it is no submodule: it is moved, cast and saved by the caller alone.
        self._vae = (vae,)

    def forward(
        self,
        ref_images: Tensor,
        gen_latents: Tensor,
        data_type: Sequence[str] | None = None,
        ref_keys: Sequence[Hashable] | None = None,
        return_details: bool = False,
        *,
        gen_keys: Sequence[str] | None = None,
        weight_B: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, FaceLossDetails]:
        """As `DifferentiableFaceLoss`, of latents (B, C, h, w) as the diffusion model has them, unpacked.

        Only samples whose face counts and whose reference has one are decoded.
        """
        return self.face_loss.of_pictures(
            ref_images,
            self._pictures(gen_latents),
            data_type,
            ref_keys,
            return_details,
            gen_keys=gen_keys,
            weight_B=weight_B,
        )

    def _pictures(self, latents_BCHW: Tensor) -> Pictures:
        (vae,) = self._vae
        if self.vae_window:
            return WindowedPictures(vae, latents_BCHW, self.side, halo=self.halo)
        return LatentPictures(vae, latents_BCHW, self.side)


class FaceLossWrapper:
    """`ArcFaceLoss` of what latents decode to: evaluation, without a graph; `face_loss` are arguments of that class."""

    def __init__(
        self,
        vae: nn.Module,
        model_name: str = "buffalo_l",
        root: str | PathLike | None = None,
        *,
        side: str | None = None,
        **face_loss: Any,
    ) -> None:
        _require_side(side)
        self.vae, self.side = vae, side
        self.face_loss = ArcFaceLoss(model_name, root, **face_loss)

    @torch.no_grad()
    def __call__(
        self,
        ref_images: Tensor,
        gen_latents: Tensor,
        data_type: Sequence[str] | None = None,
        ref_keys: Sequence[Hashable] | None = None,
        return_details: bool = False,
        *,
        gen_keys: Sequence[str] | None = None,
    ) -> Tensor | tuple[Tensor, FaceLossDetails]:
        """As `ArcFaceLoss`, of latents (B, C, h, w) as the diffusion model has them, unpacked."""
        pictures = LatentPictures(self.vae, gen_latents, self.side)
        return self.face_loss.of_pictures(ref_images, pictures, data_type, ref_keys, return_details, gen_keys=gen_keys)


def _require_side(side: str | None) -> None:
    if side not in (None, *SIDES):
        raise InputError(f"side={side!r} is not known; use left, right or None")
