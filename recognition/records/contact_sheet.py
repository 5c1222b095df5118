"""A contact sheet of augmentations: a row for each face, a column for the original and for each kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from recognition.data.augment import Augmentation, augmented
from recognition.data.decode import announced_size, decode_into
from recognition.data.sources import Source
from recognition.errors import InputError

GAP_PIXELS, LABEL_PIXELS = 4, 18
PAPER, INK = "#ffffff", "#26323f"


def contact_sheet(
    source: Source, augmentations: Sequence[Augmentation], *, faces: int, seed: int = 0, epoch: int = 0
) -> Image.Image:
    """`faces` pictures spread over the source, each as training sees it in `epoch` once a kind has chosen it.

    InputError for a picture that cannot be read, is not square, or has another size than the first.
    """
    ids_B = torch.arange(faces) * len(source) // faces
    images_BHWC = torch.from_numpy(_pictures(source, ids_B.tolist()))
    columns = [("original", images_BHWC)]
    for augmentation in augmentations:
        always = dataclasses.replace(augmentation, probability=1.0)
        changed_BHWC = augmented(images_BHWC, ids_B, torch.full_like(ids_B, epoch), [always], seed=seed)
        columns.append((augmentation.name, changed_BHWC))
    size = images_BHWC.shape[1]
    sheet = Image.new("RGB", (len(columns) * (size + GAP_PIXELS), LABEL_PIXELS + faces * (size + GAP_PIXELS)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, (name, pictures_BHWC) in enumerate(columns):
        left = column * (size + GAP_PIXELS)
        draw.text((left + size / 2, LABEL_PIXELS / 2), name, INK, font, anchor="mm")
        for row, picture in enumerate(pictures_BHWC.numpy()):
            sheet.paste(Image.fromarray(picture), (left, LABEL_PIXELS + row * (size + GAP_PIXELS)))
    return sheet


def _pictures(source: Source, ids: Sequence[int]) -> np.ndarray:
    """Pixels uint8 (B, H, H, 3), H by the first of them."""
    images_BHWC = None
    for place, index in enumerate(ids):
        payload = source.read(index).payload

        def where(index: int = index) -> str:
            return source.describe(index)

        if images_BHWC is None:
            height, width = announced_size(payload, where)
            if height != width:
                raise InputError(f"{where()}: is {width}x{height}, not square; pack the set with --image-size 112")
            images_BHWC = np.empty((len(ids), height, width, 3), np.uint8)
        decode_into(images_BHWC[place], payload, where)
    return images_BHWC
