"""A person in a scene -> a picture, and all that is known of it: points, pose, classes of the pixels, box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recognition.faces.alignment import similarity, template_points
from recognition.heads.backdrop import backdrop
from recognition.heads.camera import blurred, in_pixels, noise, projected
from recognition.heads.classes import Class
from recognition.heads.light import lit
from recognition.heads.mesh import turned, unit
from recognition.heads.painting import paint
from recognition.heads.parts import lens_edge
from recognition.heads.person import Person
from recognition.heads.posing import posed, wears_glasses
from recognition.heads.raster import Hits, blended, visible
from recognition.heads.rotation import rotation_of
from recognition.heads.scene import Scene
from recognition.heads.skull import Skull

_FINER = 2  # samples a pixel, each way
_FRAMED_DM = 3.4  # side of the picture where no matrix says otherwise


@dataclass(frozen=True)
class Picture:
    """What `render` gives; pixel centres lie at whole numbers, left is the picture's left of a frontal face.

    `pixels_HWC` is RGB, uint8. `points_53` are the eyes, the tip of the nose and the corners of the mouth in the frame
    of rotation.py, in decimetres from the middle of the head, turned; `points_52` where these are in the picture, seen
    or hidden; both float64. `pose_deg`: pitch, yaw, roll. `mask_HW`: the class (classes.py) of each pixel, uint8.
    `box_4`: x1, y1, x2, y2 of the face from hairline to chin, float64.
    """

    pixels_HWC: np.ndarray
    points_53: np.ndarray
    points_52: np.ndarray
    pose_deg: np.ndarray
    mask_HW: np.ndarray
    box_4: np.ndarray


def render(person: Person, scene: Scene, size: int, *, matrix_23: np.ndarray | None = None) -> Picture:
    """The picture of a person in a scene, `size` pixels square; the same bytes on every machine.

    `matrix_23` takes places in the plane through the middle of the head, in decimetres, to pixels; None: upright, head
    and shoulders.
    """
    if matrix_23 is None:
        matrix_23 = np.array([[size / _FRAMED_DM, 0, (size - 1) / 2], [0, size / _FRAMED_DM, 0.44 * size]])
    return _drawn(Skull(person, scene), size, matrix_23)


def aligned(person: Person, scene: Scene, size: int, *, shift_52: np.ndarray | None = None) -> Picture:
    """The picture with its points on ArcFace's template, as faces/alignment.align would cut it out of a larger one.

    Drawn straight into the crop, so that nothing is sampled twice. `shift_52`: the error of a detector, float64 (5, 2)
    in decimetres, that is added to the points first.
    """
    skull = Skull(person, scene)
    plane_52 = projected(_turned_points(skull), scene.distance_dm)
    if shift_52 is not None:
        plane_52 = plane_52 + shift_52
    # Rounded, because the sums in it may be taken in any order.
    matrix_23 = np.round(similarity(plane_52, template_points(size)), 9)
    return _drawn(skull, size, matrix_23)


def _drawn(skull: Skull, size: int, matrix_23: np.ndarray) -> Picture:
    scene = skull.scene
    mesh = posed(skull)
    screen_V3 = _on_screen(mesh.places_V3, scene, matrix_23)
    hits = visible(screen_V3, mesh.corners_T3, _FINER * size)
    values = blended(
        np.concatenate([mesh.surface_V3, mesh.normals_V3], axis=1), mesh.corners_T3[hits.triangles_N], hits.shares_N3
    )
    painted = paint(skull, mesh.parts_T[hits.triangles_N], values[:, :3])
    light = np.zeros((_FINER * size * _FINER * size, 4), np.float32)
    light[hits.places_N, :3] = lit(painted, unit(values[:, 3:]), scene)
    light[hits.places_N, 3] = 1
    classes = np.zeros(len(light), np.uint8)
    classes[hits.places_N] = painted.classes_N
    if wears_glasses(skull):
        _look_through(skull, matrix_23, hits, light, classes, _FINER * size)
    points_53 = _turned_points(skull)
    return Picture(
        _exposed(light, scene, size),
        points_53,
        in_pixels(projected(points_53, scene.distance_dm), matrix_23),
        np.array(scene.pose_deg, np.float64),
        _most(classes, size),
        _box(skull, matrix_23),
    )


def _turned_points(skull: Skull) -> np.ndarray:
    return turned(skull.points.astype(np.float64), rotation_of(skull.scene.pose_deg))


def _on_screen(places_V3: np.ndarray, scene: Scene, matrix_23: np.ndarray) -> np.ndarray:
    """x and y in samples, and depth, float32 (V, 3)."""
    pixels = in_pixels(projected(places_V3, scene.distance_dm), matrix_23)
    # The samples of pixel x lie at x - 1/4 and x + 1/4.
    samples = (pixels + 0.5) * _FINER - 0.5
    return np.concatenate([samples, places_V3[:, 2:]], axis=1).astype(np.float32)


def _look_through(
    skull: Skull, matrix_23: np.ndarray, hits: Hits, light: np.ndarray, classes: np.ndarray, side: int
) -> None:
    """Tint what lies behind the lenses, in place; eyes and brows behind them keep their classes."""
    scene = skull.scene
    depths = np.full(len(light), -np.inf, np.float32)
    depths[hits.places_N] = hits.depths_N
    turn = rotation_of(scene.pose_deg)
    for which in (-1, 1):
        edge = lens_edge(skull, which)
        middle = (edge[:1] + edge[len(edge) // 2 :][:1]) / 2
        rim = np.arange(len(edge))
        fan = np.stack([np.full(len(edge), len(edge)), rim, np.roll(rim, -1)], axis=1)
        places = turned(np.concatenate([edge, middle]), turn)
        # Both sides of a lens can be seen.
        lens = visible(_on_screen(places, scene, matrix_23), np.concatenate([fan, fan[:, ::-1]]), side)
        in_front = lens.places_N[lens.depths_N > depths[lens.places_N]]
        glare = np.float32(0.05 * scene.light_strength)
        light[in_front, :3] = light[in_front, :3] * np.float32(0.90) + glare * light[in_front, 3:]
        behind = classes[in_front]
        eyes_or_brows = (behind >= Class.LEFT_BROW) & (behind <= Class.RIGHT_EYE)
        classes[in_front[~(eyes_or_brows | (behind == Class.BACKGROUND))]] = Class.EYEGLASSES


def _exposed(light: np.ndarray, scene: Scene, size: int) -> np.ndarray:
    """Pixels uint8 (size, size, 3) of the samples' light and cover, in front of the backdrop."""
    fine = light.reshape(size, _FINER, size, _FINER, 4)
    mean = (fine[:, 0, :, 0] + fine[:, 0, :, 1] + fine[:, 1, :, 0] + fine[:, 1, :, 1]) * np.float32(1 / _FINER**2)
    picture = mean[..., :3] + backdrop(scene, size) * (1 - mean[..., 3:])
    if scene.blur:
        picture = blurred(picture, scene.blur)
    levels = np.sqrt(np.maximum(picture, 0)) * np.float32(255)
    if scene.noise_levels:
        levels = levels + np.float32(scene.noise_levels) * noise(size, scene.noise_key)
    return np.floor(np.clip(levels, 0, 255) + np.float32(0.5)).astype(np.uint8)


def _most(classes: np.ndarray, size: int) -> np.ndarray:
    """The class that most of a pixel's four samples have, uint8 (size, size); of two pairs the lower."""
    four = classes.reshape(size, _FINER, size, _FINER).transpose(0, 2, 1, 3).reshape(size, size, _FINER**2)
    a, b, c, d = np.moveaxis(np.sort(four, axis=-1), -1, 0)
    return np.where((c == d) & (a != b) & (b != c), c, b)


def _box(skull: Skull, matrix_23: np.ndarray) -> np.ndarray:
    """Corners of the face in pixels."""
    places = turned(skull.extent, rotation_of(skull.scene.pose_deg))
    pixels = in_pixels(projected(places, skull.scene.distance_dm), matrix_23)
    return np.concatenate([pixels.min(0), pixels.max(0)])
