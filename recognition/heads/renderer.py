"""Heads as a training set draws them: aligned as its pictures are, with the errors of a detector of points."""

from __future__ import annotations

import numpy as np

from recognition.heads.numbers import Numbers
from recognition.heads.person import draw_person
from recognition.heads.picture import aligned
from recognition.heads.scene import draw_scene

_SHIFTS = 0x53686966
_FURTHEST_SHIFT_DM = 0.05


class HeadRenderer:
    """Draws heads of one image size, their points on ArcFace's template but for errors of up to half a centimetre."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    def draw(self, seed: int, domain: int, label: int, index: int) -> np.ndarray:
        """Image `index` of person `label`, uint8 (H, W, 3) RGB; different domains hold different people."""
        shift = Numbers(seed, _SHIFTS, domain, index)
        shift_52 = np.array([shift.near(0, _FURTHEST_SHIFT_DM) for _ in range(10)]).reshape(5, 2)
        person, scene = draw_person(seed, label, domain=domain), draw_scene(seed, index, domain=domain)
        return aligned(person, scene, self.image_size, shift_52=shift_52).pixels_HWC
