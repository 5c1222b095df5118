"""Light on surfaces: a lamp, its shine, and the sky's even light (Lambert; Blinn, SIGGRAPH 1977, for the shine)."""

from __future__ import annotations

import numpy as np

from recognition.heads.curves import step
from recognition.heads.mesh import unit
from recognition.heads.paint import Paint, linear
from recognition.heads.scene import Scene


def lit(paint: Paint, normals_N3: np.ndarray, scene: Scene) -> np.ndarray:
    """Linear light that leaves each sample towards the viewer, float32 (N, 3).

    Places that ambient light hardly reaches lose half as much of the lamp's.
    """
    colour_N3, gloss_N, open_N = paint.colour_N3, paint.gloss_N, paint.open_N
    lamp = unit(np.array(scene.light, np.float32))
    halfway = unit(lamp + np.array([0, 0, 1], np.float32))
    # Light goes round edges a little, as it does in skin.
    facing = (_dot(normals_N3, lamp) + np.float32(0.22)) * np.float32(1 / 1.22)
    direct = scene.light_strength * np.maximum(facing, 0) * (0.5 + 0.5 * open_N)
    shine = np.maximum(_dot(normals_N3, halfway), 0)
    for _ in range(4):
        shine = shine * shine
    shine = 0.22 * scene.light_strength * gloss_N * shine * step(facing, 0, 0.3)
    # More from above and from the viewer's side.
    even = scene.ambient * open_N * (0.78 - 0.14 * normals_N3[:, 1] + 0.12 * normals_N3[:, 2])
    lamp_colour = linear(scene.light_colour)
    return colour_N3 * (even[:, None] + direct[:, None] * lamp_colour) + shine[:, None] * lamp_colour


def _dot(vectors_N3: np.ndarray, other_3: np.ndarray) -> np.ndarray:
    return vectors_N3[:, 0] * other_3[0] + vectors_N3[:, 1] * other_3[1] + vectors_N3[:, 2] * other_3[2]
