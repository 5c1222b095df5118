"""Procedural faces: as many identities as asked, each with any number of images, made from numbers alone.

What an identity looks like (skin, head, eyes, brows, nose, mouth, hair, complexion) is drawn from (seed, label); what
an image of it looks like (place, scale, turn of the head, light, background, noise) from (seed, index). Nothing is
stored, so a million classes cost nothing to have.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from tqdm import tqdm

from recognition.data.threads import map_in_order

TRAINING, PAIRS = 0, 1


class Renderer(Protocol):
    """Draws faces of one image size."""

    image_size: int

    def draw(self, seed: int, domain: int, label: int, index: int) -> np.ndarray:
        """Image `index` of identity `label`, uint8 (H, W, 3) RGB; different domains hold different people."""
        ...


class FaceRenderer:
    """Draws faces of one image size; coordinates run over [-1, 1] across the image, x right and y down."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size
        self.axis = np.linspace(-1, 1, image_size, dtype=np.float32)
        # Fresh Gaussian noise would take longer than the face itself; windows of one fixed table train as well.
        self.noise = np.random.default_rng(0).standard_normal(5 * image_size * image_size, dtype=np.float32)

    def draw(self, seed: int, domain: int, label: int, index: int) -> np.ndarray:
        """Image `index` of identity `label`, uint8 (H, W, 3) RGB; different domains hold different people."""
        seed %= 1 << 64
        who = np.random.default_rng((seed, domain, 0, label)).random(32, dtype=np.float32)
        how = np.random.default_rng((seed, domain, 1, index)).random(16, dtype=np.float32)
        scale = 0.94 + 0.14 * how[0]
        x = (self.axis[None, :] + 0.14 * (how[1] - 0.5)) / scale
        y = (self.axis[:, None] + 0.14 * (how[2] - 0.5)) / scale
        picture = np.empty((3, self.image_size, self.image_size), np.float32)
        picture[:] = (40 + 170 * how[4:7])[:, None, None]
        _paint_face(picture, x, y, x + 0.16 * (how[3] - 0.5), who)
        picture *= (0.75 + 0.4 * how[7]) * (1 + 0.3 * (how[8] - 0.5) * x + 0.3 * (how[9] - 0.5) * y)
        start = int(how[10] * (self.noise.size - picture.size))
        picture += (4 + 6 * how[11]) * self.noise[start : start + picture.size].reshape(picture.shape)
        np.clip(picture, 0, 255, out=picture)
        return np.ascontiguousarray(picture.astype(np.uint8).transpose(1, 2, 0))


def _paint_face(picture: np.ndarray, x: np.ndarray, y: np.ndarray, turned: np.ndarray, who: np.ndarray) -> None:
    """Paint the person that the 32 numbers of `who` describe; features sit at `turned`, x after a turn of the head."""
    skin = (90 + 130 * who[0]) * np.array([1.08, 0.72 + 0.18 * who[1], 0.5 + 0.3 * who[2]], np.float32)
    hair = 20 + 150 * who[3] * np.array([1, 0.45 + 0.5 * who[4], 0.2 + 0.6 * who[5]], np.float32)
    lips = skin * np.array([0.95, 0.45 + 0.3 * who[6], 0.55], np.float32)
    # Light and dark patches of the skin, the same in every image of a person.
    patches = np.sin((4 + 6 * who[7]) * turned + 6.3 * who[8]) * np.sin((4 + 6 * who[9]) * y + 6.3 * who[10])
    width, height = 0.56 + 0.16 * who[11], 0.74 + 0.14 * who[12]
    _paint(picture, x / (width + 0.08 + 0.14 * who[13]), (y + 0.12) / (height + 0.02), hair)
    _paint(picture, x / width, (y - 0.12) / height, skin, 1 + 0.13 * patches)

    side = np.abs(turned) - (0.2 + 0.12 * who[14])
    eye_y, eye_w, eye_h = -0.2 + 0.14 * who[15], 0.09 + 0.05 * who[16], 0.045 + 0.035 * who[17]
    brow_y = eye_y - 0.14 - 0.06 * who[18]
    mouth_y = 0.42 + 0.1 * who[19]
    nose_h = 0.1 + 0.07 * who[20]
    _paint(picture, side / (0.1 + 0.07 * who[21]), (y - brow_y) / (0.025 + 0.03 * who[22]), 0.7 * hair)
    _paint(picture, side / eye_w, (y - eye_y) / eye_h, np.array([235, 232, 228], np.float32))
    _paint(picture, side / eye_h, (y - eye_y) / eye_h, 30 + 130 * who[23:26])
    _paint(picture, turned / (0.05 + 0.06 * who[26]), (y - 0.12) / nose_h, 0.8 * skin)
    _paint(picture, turned / (0.15 + 0.14 * who[27]), (y - mouth_y) / (0.03 + 0.05 * who[28]), lips)


def _paint(
    picture: np.ndarray, x: np.ndarray, y: np.ndarray, colour: np.ndarray, patches: np.ndarray | None = None
) -> None:
    """Paint the soft-edged ellipse x^2 + y^2 < 1 (x is (1, W), y is (H, 1)) in place, touching only what it spans."""
    rows, columns = _span(y[:, 0]), _span(x[0])
    cover = np.clip(4 - 4 * (x[:, columns] ** 2 + y[rows] ** 2), 0, 1)
    target = colour[:, None, None]
    if patches is not None:
        target = target * patches[rows, columns]
    window = picture[:, rows, columns]
    window += cover * (target - window)


def _span(values: np.ndarray) -> slice:
    """The smallest slice that holds all places where |values| < 1."""
    inside = np.flatnonzero(np.abs(values) < 1)
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)


def drawn_pairs(
    renderer: Renderer, num_pairs: int, *, seed: int = 0, is_watched: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of people outside every drawn training set: images uint8 (2P, H, W, 3) RGB and issame bool (P,).

    Genuine and impostor pairs alternate, so that every fold of consecutive pairs is balanced. `is_watched`: a bar shows
    on a terminal how far it is.
    """
    issame = np.arange(num_pairs) % 2 == 0

    def draw(index: int) -> np.ndarray:
        pair, second = divmod(index, 2)
        return renderer.draw(seed, PAIRS, 2 * pair + int(second and not issame[pair]), index)

    drawn, hidden = map_in_order(draw, range(2 * num_pairs)), None if is_watched else True
    return np.stack(list(tqdm(drawn, "drawing pairs", 2 * num_pairs, delay=2, leave=False, disable=hidden))), issame
