"""Colour, gloss and class of each visible sample, from the part it belongs to and its place on that part's surface."""

from __future__ import annotations

from functools import partial

import numpy as np

from recognition.heads.classes import Class
from recognition.heads.curves import bump, mixed, step, wave
from recognition.heads.face_paint import paint_face
from recognition.heads.mesh import Part
from recognition.heads.paint import Paint, linear
from recognition.heads.skull import Skull, hair_below


def paint(skull: Skull, parts_N: np.ndarray, surface_N3: np.ndarray) -> Paint:
    """Paint for samples of all parts."""
    count = len(parts_N)
    done = Paint(
        np.zeros((count, 3), np.float32),
        np.zeros(count, np.float32),
        np.ones(count, np.float32),
        np.zeros(count, np.uint8),
    )
    painters = {
        Part.HEAD: _head,
        Part.LEFT_EAR: partial(_ear, Class.LEFT_EAR),
        Part.RIGHT_EAR: partial(_ear, Class.RIGHT_EAR),
        Part.NECK: _neck,
        Part.CLOTH: _cloth,
        Part.HAIR: _falling_hair,
        Part.FRAME: _frame,
    }
    for part, painter in painters.items():
        rows = np.flatnonzero(parts_N == part)
        if rows.size:
            piece = painter(skull, surface_N3[rows])
            done.colour_N3[rows], done.gloss_N[rows] = piece.colour_N3, piece.gloss_N
            done.open_N[rows], done.classes_N[rows] = piece.open_N, piece.classes_N
    return done


def skin_tone(skull: Skull, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Linear skin colour with the person's own faint patches, (N, 3)."""
    rate_x, phase_x, rate_y, phase_y = (np.float32(value) for value in skull.person.patches)
    patches = wave(rate_x * 0.3 * x + phase_x + 0.2 * y) * wave(rate_y * 0.3 * y + phase_y)
    return linear(skull.person.skin) * (1 + 0.07 * patches)[:, None]


def hair_colour(skull: Skull, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Linear hair colour, (N, 3), in strands that run from the crown down."""
    # Once round the head is 4, as along the sides of a square: an angle without an arc tangent.
    turn = x / (np.abs(x) + np.abs(z) + np.float32(1e-6))
    turn = np.where(z < 0, 2 - turn, turn) + 0.05 * wave(0.8 * y + 0.5 * turn)
    strands = 0.30 * wave(6 * turn) + 0.40 * wave(17 * turn + 0.4 * y) + 0.30 * wave(37 * turn)
    return linear(skull.person.hair) * (1 + 0.22 * strands)[:, None]


def _head(skull: Skull, surface_N3: np.ndarray) -> Paint:
    u, v, z = surface_N3[:, 0], surface_N3[:, 1], surface_N3[:, 2]
    count = len(u)
    result = Paint(
        skin_tone(skull, u, v),
        np.full(count, 0.16, np.float32),
        np.ones(count, np.float32),
        np.full(count, Class.SKIN, np.uint8),
    )
    facing = np.flatnonzero((z > 0.25) & (v > -0.62))
    paint_face(skull, u[facing], v[facing], facing, result)
    inside = hair_below(skull.person, u, z) - v
    rows = np.flatnonzero(inside > -0.05)
    # The edge is uneven, as hair is.
    edge = inside[rows] + 0.012 * wave(9 * u[rows] + 7 * z[rows]) * wave(21 * u[rows] + 16 * z[rows])
    cover = step(edge, -0.035, 0.035)
    locks = hair_colour(skull, u[rows], v[rows], z[rows] + 0.05)
    result.colour_N3[rows] = mixed(result.colour_N3[rows], locks, cover)
    result.gloss_N[rows] += (0.25 - result.gloss_N[rows]) * cover
    result.open_N[rows] *= 1 - 0.2 * bump(((edge - 0.02) / 0.06) ** 2)
    result.classes_N[rows[edge > 0]] = Class.HAIR
    return result


def _ear(of_part: Class, skull: Skull, surface_N3: np.ndarray) -> Paint:
    across, down, thick = surface_N3[:, 0], surface_N3[:, 1], surface_N3[:, 2]
    bowl = bump((across / 0.75) ** 2 + ((down + 0.05) / 0.8) ** 2) * (thick > 0)
    rim = bump(((across * across + down * down) - 0.62) ** 2 / 0.02) * (thick > 0)
    colour = skin_tone(skull, 0.3 * across, 0.3 * down) * np.array([1.0, 0.88, 0.86], np.float32)
    return Paint(
        colour * (1 - 0.45 * bowl - 0.12 * rim)[:, None],
        np.full(len(across), 0.12, np.float32),
        1 - 0.5 * bowl,
        np.full(len(across), of_part, np.uint8),
    )


def _neck(skull: Skull, surface_N3: np.ndarray) -> Paint:
    x, y, z = surface_N3[:, 0], surface_N3[:, 1], surface_N3[:, 2]
    # The jaw keeps the light off the neck, most right under it.
    shade = 0.40 + 0.60 * step(y, 1.02, 1.75)
    cords = bump(((np.abs(x) - 0.30 + 0.16 * (y - 1.1)) / 0.07) ** 2) * step(z, -0.1, 0.15)
    throat = bump((x / 0.07) ** 2 + ((y - 1.36) / 0.1) ** 2) * (0.5 if skull.person.male else 0.0)
    return Paint(
        skin_tone(skull, x, y) * (0.96 + 0.06 * cords + 0.10 * throat)[:, None],
        np.full(len(x), 0.10, np.float32),
        shade,
        np.full(len(x), Class.NECK, np.uint8),
    )


def _cloth(skull: Skull, surface_N3: np.ndarray) -> Paint:
    x, y, z = surface_N3[:, 0], surface_N3[:, 1], surface_N3[:, 2]
    neckline = skull.scene.neckline
    opening = 0.72 + 0.1 * neckline
    depth = 1.55 + (0.06 + 0.75 * neckline * np.maximum(1 - np.abs(x) / opening, 0)) * step(z, -0.3, 0.1)
    bare = y < depth
    seam = bump(((y - depth - 0.03) / 0.05) ** 2)
    folds = 1 + 0.10 * wave(1.3 * x + 0.9 * y) * wave(0.7 * y - 0.5 * x)
    colour = linear(skull.scene.cloth) * (folds * (1 - 0.35 * seam))[:, None]
    return Paint(
        np.where(bare[:, None], skin_tone(skull, x, y), colour),
        np.where(bare, np.float32(0.10), np.float32(0.02)),
        1 - bare * (0.12 + 0.30 * step(np.abs(x), 0.75, 0.35) * step(z, 0.2, -0.1)),
        np.where(bare, Class.NECK, Class.CLOTH).astype(np.uint8),
    )


def _falling_hair(skull: Skull, surface_N3: np.ndarray) -> Paint:
    x, y, z = surface_N3[:, 0], surface_N3[:, 1], surface_N3[:, 2]
    return Paint(
        hair_colour(skull, x, y, z + 0.4),
        np.full(len(x), 0.22, np.float32),
        0.75 + 0.25 * step(np.abs(x), 0.55, 0.85),
        np.full(len(x), Class.HAIR, np.uint8),
    )


def _frame(skull: Skull, surface_N3: np.ndarray) -> Paint:
    count = len(surface_N3)
    return Paint(
        np.broadcast_to(linear(skull.person.frame), (count, 3)),
        np.full(count, 0.6, np.float32),
        np.ones(count, np.float32),
        np.full(count, Class.EYEGLASSES, np.uint8),
    )
