"""What a scene is built of: head with hair, ears, neck, shoulders, long hair and glasses, each a mesh at rest."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from recognition.heads.curves import step, through, wave
from recognition.heads.mesh import Mesh, Part, cross, sheet, unit
from recognition.heads.person import HairStyle
from recognition.heads.skull import CHIN, CROWN, Skull, hair_below, roundness

_VOLUME = {HairStyle.BALD: 0.0, HairStyle.CROPPED: 0.3, HairStyle.SHORT: 1.0, HairStyle.FRINGE: 1.0}
_RING = 36


def head(skull: Skull) -> Mesh:
    """The head; `surface` is (u, v, z) of the smooth skull."""
    v_R = _rows()
    front_C, back_C = _across(58, 0.55), _across(18, 1.0)[1:-1]
    half_width, front, back, widest, square = (part[:, None] for part in skull.outline(v_R))
    u_RC = half_width * np.concatenate([front_C, back_C[::-1]])
    v_RC = np.broadcast_to(v_R[:, None], u_RC.shape)
    z_front = widest + (front - widest) * roundness(front_C, square)
    z_back = widest + (back - widest) * roundness(back_C[::-1], np.float32(0.15) + 0 * square)
    relief = np.zeros_like(u_RC)
    relief[:, : len(front_C)] = skull.relief(u_RC[:, : len(front_C)], v_RC[:, : len(front_C)])
    z_RC = np.concatenate([z_front, z_back], axis=1)
    places = np.stack([u_RC, skull.height(v_RC), z_RC + relief], axis=-1)
    surface = np.stack([u_RC, v_RC, z_RC], axis=-1)
    person = skull.person
    thickness = person.hair_volume * _VOLUME.get(person.hair_style, 1.1)
    if thickness:
        depth_in_hair = _rounded(np.clip((hair_below(person, u_RC, z_RC) - v_RC + 0.03) / 0.36, 0, 1))
        outward = unit(places - np.array([0, 0.05, -0.1], np.float32))
        # Strands stand out unevenly, most at the crown.
        uneven = 1 + 0.10 * wave(1.7 * u_RC + 0.3 * v_RC) + 0.08 * wave(1.1 * z_RC + 2 * u_RC)
        high = 0.55 + 0.45 * step(v_RC, 0.1, -0.8)
        places = places + outward * ((0.02 + thickness * high * uneven) * depth_in_hair)[..., None]
    return sheet(places, surface, Part.HEAD, closed=True)


def ears(skull: Skull) -> list[Mesh]:
    """Both ears; `surface` is (front to back, top to bottom), each from -1 to 1, and the thickness."""
    person = skull.person
    down_R = _turned_steps(11)
    across_C, thick_C = _ring(12)
    shrink = np.sqrt(np.maximum(1 - down_R * down_R, 0))[:, None]
    length = 0.20 * person.ear_size * shrink * (1 - 0.28 * down_R[:, None])
    behind = -across_C * length
    thick = 0.055 * shrink * thick_C + 0.02 * (behind * behind) / 0.04
    middle_v = 0.13
    width = skull.outline(np.float32(middle_v)).half_width
    # The hind edge stands away from the head.
    x = width - 0.03 + thick - person.ear_flare * (behind - 0.04)
    y = middle_v * person.chin_length + 0.33 * person.ear_size * down_R[:, None] + 0 * x
    z = -0.02 + behind + 0.10 * -down_R[:, None] * person.ear_size * 0.5
    places = np.stack([x, y, z], axis=-1)
    surface = np.stack(np.broadcast_arrays(across_C, down_R[:, None], thick_C), axis=-1)
    mirrored = places[:, ::-1] * np.array([-1, 1, 1], np.float32)
    return [
        sheet(mirrored, surface[:, ::-1], Part.LEFT_EAR, closed=True),
        sheet(places, surface, Part.RIGHT_EAR, closed=True),
    ]


def neck(skull: Skull) -> Mesh:
    """From inside the head to inside the clothes; `surface` is its place at rest."""
    y_R = np.linspace(0.45, 2.05, 11, dtype=np.float32)
    width = skull.person.neck_width
    half_width = through((0.4, 1.0, 1.5, 2.1), (0.98 * width, 0.94 * width, width, 1.5 * width), y_R)
    middle = through((0.4, 1.0, 2.1), (-0.22, -0.26, -0.38), y_R)
    return _loft(y_R, half_width, half_width * 0.92, middle, Part.NECK)


def shoulders(skull: Skull) -> Mesh:
    """Shoulders and chest, down to below the picture; `surface` is its place at rest."""
    y_R = np.array([1.30, 1.42, 1.52, 1.60, 1.68, 1.76, 1.86, 1.98, 2.15, 2.5, 3.2, 4.5], np.float32)
    neck_width, width = skull.person.neck_width, skull.person.shoulder_width
    knots = (1.3, 1.5, 1.68, 1.85, 2.15, 4.5)
    slope = (0.8 * neck_width, neck_width + 0.06, 0.48 * width, 0.82 * width, width, 0.98 * width)
    half_width = through(knots, slope, y_R)
    depth = through(knots, (0.75 * neck_width, neck_width, 0.66, 0.74, 0.82, 0.85), y_R)
    middle = through(knots, (-0.36, -0.36, -0.36, -0.34, -0.28, -0.2), y_R)
    return _loft(y_R, half_width, depth, middle, Part.CLOTH)


def falling_hair(skull: Skull) -> Mesh | None:
    """Hair that hangs behind the face; None where it is too short. `surface` is its place at rest."""
    person = skull.person
    if person.hair_style not in (HairStyle.BOB, HairStyle.LONG):
        return None
    end = person.hair_length if person.hair_style is HairStyle.LONG else 0.55 + 0.25 * person.hair_length
    y_R = np.linspace(-0.55, end, 15, dtype=np.float32)
    width = skull.outline(np.float32(-0.1)).half_width + 0.55 * person.hair_volume
    swollen = person.hair_volume
    knots = (-0.55, 0.0, 0.6, 1.2, 2.2)
    half_width = through(knots, (0.80 * width, width + 0.03, width + 0.10, width + 0.05, 0.95 * width), y_R)
    front = through(knots, (0.16, 0.22, 0.26, 0.20, 0.10), y_R)
    back = through(knots, (-1.0 - 0.5 * swollen, -1.08 - 0.9 * swollen, -1.03 - 0.7 * swollen, -0.95, -0.95), y_R)
    closing = np.sqrt(np.maximum(1 - np.maximum((y_R - end + 0.22) / 0.22, 0) ** 2, 0.02))
    middle = (front + back) / 2
    return _loft(y_R, half_width * closing, (front - back) / 2 * closing, middle, Part.HAIR, hanging=True)


def glasses(skull: Skull) -> list[Mesh]:
    """The frame; `surface` is not used."""
    tube = 0.016
    meshes = []
    rims = [lens_edge(skull, side) for side in (-1, 1)]
    for side, rim in zip((-1, 1), rims):
        meshes.append(_tube(np.concatenate([rim, rim[:1]]), tube))
        hinge = rim[np.argmax(side * rim[:, 0])]
        ear = np.array([side * (skull.outline(np.float32(0.0)).half_width + 0.03), -0.06, -0.02], np.float32)
        bend = np.array([ear[0], hinge[1] - 0.02, 0.45], np.float32)
        meshes.append(_tube(np.stack([hinge, bend, ear]), tube))
    left, right = rims[0][np.argmax(rims[0][:, 0])], rims[1][np.argmin(rims[1][:, 0])]
    top = (left + right) / 2 + np.array([0, -0.03, 0.02], np.float32)
    meshes.append(_tube(np.stack([left, top, right]), tube))
    return meshes


def lens_edge(skull: Skull, side: int) -> np.ndarray:
    """The edge of a lens, float32 (24, 3); `side` -1 is the picture's left."""
    person = skull.person
    across, up = _ring(24)
    # Between a circle and a rounded square.
    stretch = 1 / np.sqrt(np.sqrt(_fourth(across) + _fourth(up)))
    stretch = 1 + (stretch - 1) * np.float32(0.2 + 0.8 * person.frame_square)
    u = side * (person.eye_distance + 0.015) + 0.215 * person.frame_size * across * stretch
    v = 0.03 - 0.165 * person.frame_size * up * stretch
    nose = skull.face(np.float32(0), np.float32(0.02))[2]
    bow = 0.20 * (np.abs(u) - 0.1) ** 2
    return np.stack([u, v, np.float32(max(nose + 0.02, 0.96)) - bow], axis=-1).astype(np.float32)


@lru_cache(maxsize=8)
def _rows() -> np.ndarray:
    """Heights of the head's rows, crowded where the face has relief and towards the poles."""
    up, down = np.linspace(0, 1, 8, dtype=np.float32), np.linspace(0, 1, 7, dtype=np.float32)
    top = -0.50 + (CROWN + 0.50) * (1 - (1 - up) ** 2)
    bottom = 0.90 + (CHIN - 0.90) * (1 - (1 - down) ** 2)
    face = np.concatenate([np.linspace(-0.5, -0.2, 7)[1:-1], np.linspace(-0.2, 0.90, 40)]).astype(np.float32)
    return np.concatenate([top[::-1], face[:-1], bottom])


@lru_cache(maxsize=8)
def _across(count: int, crowding: float) -> np.ndarray:
    """From -1 to 1, `count` columns; spacing in the middle is `crowding` of an even circle's."""
    even = np.linspace(-1, 1, count, dtype=np.float32)
    half = crowding * even + (1 - crowding) * even * even * even
    return 2 * half / (1 + half * half)


def _rounded(share: np.ndarray) -> np.ndarray:
    """From 0 to 1 as a quarter of a circle rises, but for a flat start: how hair swells from its edge."""
    away = 1 - share
    return np.sqrt(1 - away * away) * share * (2 - share)


def _fourth(values: np.ndarray) -> np.ndarray:
    squared = values * values
    return squared * squared


@lru_cache(maxsize=8)
def _turned_steps(count: int) -> np.ndarray:
    """From -1 to 1 as the sines of even angles are, near enough."""
    even = np.linspace(-1, 1, count, dtype=np.float32)
    return even * (3 - even * even) / 2


@lru_cache(maxsize=8)
def _ring(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit circle (right, front) from the left over the front to the right and back behind; `count` is even."""
    half = np.linspace(-1, 1, count // 2 + 1, dtype=np.float32)
    right, front = 2 * half / (1 + half * half), (1 - half * half) / (1 + half * half)
    return np.concatenate([right[:-1], -right[:-1]]), np.concatenate([front[:-1], -front[:-1]])


def _loft(
    y_R: np.ndarray,
    half_width_R: np.ndarray,
    depth_R: np.ndarray,
    middle_R: np.ndarray,
    part: Part,
    *,
    hanging: bool = False,
) -> Mesh:
    """Elliptic rings on top of each other; `hanging`: furrowed as locks are, and open in front, where the neck is."""
    right_C, front_C = _ring(_RING)
    furrows = np.ones(_RING, np.float32)
    if hanging:
        furrows[::2] = 1.04
        beside = np.abs(right_C)
        front_C = np.where(front_C > 0, np.minimum(step(beside, 0.35, 0.72), 1.6 * front_C) - 0.15, front_C)
    x = half_width_R[:, None] * right_C * furrows
    z = middle_R[:, None] + depth_R[:, None] * front_C * furrows
    places = np.stack([x, np.broadcast_to(y_R[:, None], x.shape), z], axis=-1).astype(np.float32)
    return sheet(places, places, part, closed=True)


def _tube(path_N3: np.ndarray, radius: float) -> Mesh:
    """A square tube along a path."""
    along = np.empty_like(path_N3)
    along[1:-1] = path_N3[2:] - path_N3[:-2]
    along[0], along[-1] = path_N3[1] - path_N3[0], path_N3[-1] - path_N3[-2]
    if (path_N3[0] == path_N3[-1]).all():
        along[0] = along[-1] = path_N3[1] - path_N3[-2]
    along = unit(along)
    # Any two directions across the path will do; the first leans away from where it could vanish.
    lean = np.where(np.abs(along[:, 2:]) < 0.8, np.array([0, 0, 1], np.float32), np.array([0, 1, 0], np.float32))
    first = unit(cross(along, lean))
    second = cross(along, first)
    corners = [first + second, second - first, -first - second, first - second]
    places = np.stack([path_N3 + np.float32(radius) * corner for corner in corners], axis=1)
    return sheet(places, places, Part.FRAME, closed=True)
