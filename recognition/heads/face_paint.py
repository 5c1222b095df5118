"""Paint of a face on its skin: eyes, brows, nose, lips, beard and marks, in the coordinates of the skull."""

from __future__ import annotations

import numpy as np

from recognition.heads.classes import Class
from recognition.heads.curves import bump, mixed, step, wave
from recognition.heads.paint import Paint, linear
from recognition.heads.person import Beard
from recognition.heads.skull import Skull

_SCLERA = (0.94, 0.92, 0.90)
_TEETH, _MOUTH = (0.80, 0.77, 0.70), (0.10, 0.03, 0.03)


def paint_face(skull: Skull, u: np.ndarray, v: np.ndarray, rows: np.ndarray, paint: Paint) -> None:
    """Paint the samples `rows` of `paint`, which lie at (u, v) and look forward, in place."""
    side = np.abs(u)
    _complexion(skull, u, side, v, rows, paint)
    for painter, near in (
        (_beard, v > 0.05),
        (_nose, (side < 0.32) & (np.abs(v - 0.2) < 0.45)),
        (_lips, (side < 0.42) & (np.abs(v - skull.mouth_v) < 0.30)),
        (_eyes, (np.abs(side - skull.person.eye_distance) < 0.26) & (np.abs(v) < 0.24)),
        (_brows, (side < 0.66) & (v < -0.05) & (v > -0.42)),
    ):
        chosen = np.flatnonzero(near)
        if chosen.size:
            painter(skull, u[chosen], side[chosen], v[chosen], rows[chosen], paint)


def _complexion(skull: Skull, u: np.ndarray, side: np.ndarray, v: np.ndarray, rows: np.ndarray, paint: Paint) -> None:
    """Red cheeks and nose, freckles, moles, wrinkles, and the shade in what lies deep."""
    person, smile = skull.person, skull.scene.smile
    red = bump(((side - 0.42) / 0.26) ** 2 + ((v - 0.30) / 0.24) ** 2)
    red += 0.7 * bump((side / 0.16) ** 2 + ((v - skull.nose_tip_v) / 0.16) ** 2)
    tint = (0.04 + 0.14 * person.redness) * red
    colour = paint.colour_N3[rows]
    colour[:, 1] *= 1 - tint
    colour[:, 2] *= 1 - tint
    if person.freckles > 0:
        specks = step(wave(9.1 * u + 3.7 * v) * wave(8.3 * v - 2.9 * u), 0.55, 0.8)
        specks *= bump(((side - 0.25) / 0.42) ** 2 + ((v - 0.25) / 0.30) ** 2)
        colour *= (1 - 0.4 * person.freckles * specks)[:, None]
    for mole_u, mole_v, radius in person.moles:
        away2 = (u - np.float32(mole_u)) ** 2 + (v - np.float32(mole_v)) ** 2
        colour *= (1 - 0.75 * bump(away2 / (2.56 * radius * radius)))[:, None]
    lines = 0.0 if person.young else 1.0
    fold_u = 0.17 + 0.42 * np.maximum(v - skull.nose_tip_v, 0)
    folds = bump(((side - fold_u) / 0.03) ** 2 + ((v - skull.nose_base_v - 0.06) / 0.18) ** 2)
    shade = (0.08 + 0.12 * lines + 0.16 * smile) * folds
    if lines:
        furrows = bump(wave(v / 0.075 + 0.06 * wave(u)) ** 2 / 0.3) * bump((side / 0.5) ** 2 + ((v + 0.44) / 0.14) ** 2)
        feet = bump(wave((v - 0.02) / 0.06 + 2 * (side - 0.5)) ** 2 / 0.3) * bump(
            ((side - person.eye_distance - 0.24) / 0.08) ** 2 + (v / 0.1) ** 2
        )
        shade += 0.16 * furrows + 0.16 * feet
    colour *= (1 - shade)[:, None]
    paint.colour_N3[rows] = colour
    sockets = bump(((side - person.eye_distance + 0.06) / 0.26) ** 2 + ((v + 0.05) / 0.17) ** 2)
    under_nose = bump((side / 0.22) ** 2 + ((v - skull.nose_base_v - 0.03) / 0.09) ** 2)
    under_lip = bump((side / 0.20) ** 2 + ((v - skull.mouth_v - person.lower_lip - 0.06) / 0.06) ** 2)
    beside_nose = bump(((side - 0.16) / 0.08) ** 2 + ((v - 0.12) / 0.25) ** 2)
    paint.open_N[rows] *= 1 - 0.30 * sockets - 0.40 * under_nose - 0.28 * under_lip - 0.12 * beside_nose
    paint.gloss_N[rows] += 0.14 * bump((side / 0.14) ** 2 + ((v - skull.nose_tip_v + 0.03) / 0.16) ** 2)


def _beard(skull: Skull, u: np.ndarray, side: np.ndarray, v: np.ndarray, rows: np.ndarray, paint: Paint) -> None:
    beard = skull.person.beard
    if beard is Beard.NONE:
        return
    mouth = skull.mouth_v
    whiskers = bump((side / 0.30) ** 2 + ((v - mouth + 0.10 - 0.25 * side) / 0.075) ** 2)
    whiskers = step(whiskers, 0.05, 0.45) * step(side, 0.005, 0.03)
    chin = step(bump((side / 0.33) ** 2 + ((v - 1.0) / 0.24) ** 2), 0.03, 0.35)
    # Cheeks: below a line from the ear to the corner of the mouth.
    cheeks = step(v - (0.62 - 0.9 * (side - 0.30)), -0.04, 0.08) * step(side, 0.20, 0.34)
    round_mouth = step(bump(((side - 0.27) / 0.11) ** 2 + ((v - mouth - 0.10) / 0.34) ** 2), 0.02, 0.3)
    below = step(v, mouth + 0.11, mouth + 0.24)
    cover = {
        Beard.STUBBLE: 0.42 * np.maximum(np.maximum(whiskers, cheeks), below),
        Beard.MOUSTACHE: 0.85 * whiskers,
        Beard.GOATEE: 0.85 * np.maximum(np.maximum(whiskers, chin), round_mouth),
        Beard.FULL: 0.92 * np.maximum(np.maximum(whiskers, cheeks), np.maximum(below, round_mouth)),
    }[beard]
    rough = 1 + 0.10 * wave(31 * u + 4 * wave(2.3 * v)) * wave(7 * v + 3 * u)
    cover = np.clip(cover * rough, 0, 0.95)
    paint.colour_N3[rows] = mixed(paint.colour_N3[rows], linear(skull.person.hair) * np.float32(0.75), cover)
    paint.gloss_N[rows] *= 1 - 0.7 * cover


def _nose(skull: Skull, u: np.ndarray, side: np.ndarray, v: np.ndarray, rows: np.ndarray, paint: Paint) -> None:
    person = skull.person
    along = np.clip((v + 0.05) / (skull.nose_tip_v + 0.10), 0, 1)
    half_width = 0.075 + (person.nose_width - 0.065) * along * along * along
    on_nose = (side < half_width) & (v > -0.05) & (v < skull.nose_base_v + 0.02)
    paint.classes_N[rows[on_nose]] = Class.NOSE
    nostril = bump(
        ((side - 0.46 * person.nose_width) / (0.34 * person.nose_width)) ** 2
        + ((v - skull.nose_base_v + 0.025 + 0.12 * (side - 0.08)) / 0.032) ** 2
    )
    crease = bump(((side - person.nose_width - 0.005) / 0.03) ** 2 + ((v - skull.nose_tip_v - 0.03) / 0.09) ** 2)
    paint.colour_N3[rows] *= (1 - 0.78 * step(nostril, 0.0, 0.6) - 0.22 * crease)[:, None]


def _lips(skull: Skull, u: np.ndarray, side: np.ndarray, v: np.ndarray, rows: np.ndarray, paint: Paint) -> None:
    person = skull.person
    across = side / skull.mouth_half_width
    inside = np.maximum(1 - across * across, 0)
    bow = 1 - person.lip_bow * bump((side / 0.05) ** 2) + 0.25 * person.lip_bow * bump(((side - 0.07) / 0.06) ** 2)
    line = skull.mouth_line(u)
    gap = skull.lip_gap * inside
    top, bottom = line - 0.3 * gap, line + 0.7 * gap
    upper = top - person.upper_lip * np.sqrt(inside) * (0.45 + 0.55 * inside) * bow
    lower = bottom + person.lower_lip * np.sqrt(inside) * (0.3 + 0.7 * inside)
    here = across < 1
    colour = paint.colour_N3[rows]
    cover = step(v, upper - 0.012, upper + 0.012) * step(v, lower + 0.012, lower - 0.014) * here
    full = bump(((v - bottom - 0.5 * person.lower_lip) / 0.04) ** 2)
    colour = mixed(colour, linear(person.lips) * (1 - 0.22 * (v < line) + 0.08 * full)[:, None], cover)
    # Between the lips: a dark line, or teeth above the dark of the mouth.
    closed = bump(((v - line) / (0.016 + 0.004 * inside)) ** 2) * step(across, 1.06, 0.9)
    colour *= (1 - 0.72 * closed)[:, None]
    within = here & (v > top) & (v < bottom) & (gap > 0.008)
    teeth = step(v, top + 0.075 * inside + 1e-3, top + 0.05 * inside) * step(across, 0.92, 0.70)
    gaps = 1 - 0.16 * bump(wave(u / 0.075) ** 2 / 0.1)
    hollow = mixed(np.broadcast_to(linear(_MOUTH), colour.shape), linear(_TEETH), teeth) * gaps[:, None]
    colour[within] = hollow[within]
    corners = bump(((across - 1.0) / 0.14) ** 2 + ((v - line) / 0.03) ** 2)
    paint.colour_N3[rows] = colour * (1 - 0.35 * corners)[:, None]
    paint.gloss_N[rows] += 0.20 * cover
    paint.classes_N[rows[here & (v > upper) & (v <= line)]] = Class.UPPER_LIP
    paint.classes_N[rows[here & (v > line) & (v < lower)]] = Class.LOWER_LIP
    paint.classes_N[rows[within]] = Class.MOUTH


def _eyes(skull: Skull, u: np.ndarray, side: np.ndarray, v: np.ndarray, rows: np.ndarray, paint: Paint) -> None:
    person, scene = skull.person, skull.scene
    # From the middle of the eye outwards, and down; a tilt raises the outer corner.
    outward, right = side - person.eye_distance, np.where(u < 0, np.float32(-1), np.float32(1))
    down = v + person.eye_tilt * outward
    across = outward / person.eye_width
    inside = np.maximum(1 - across * across, 0)
    # The upper lid is highest nearer the nose, the lower lid lowest further out.
    opened = 1 - scene.eyes_closed
    upper = -person.eye_height * inside * (1 - 0.25 * across) * (opened * 1.05 - 0.35 * scene.eyes_closed)
    squint = 1 - 0.35 * scene.smile
    lower = 0.78 * person.eye_height * inside * (1 + 0.2 * across) * (opened * squint + 0.35 * scene.eyes_closed)
    within = (down > upper) & (down < lower) & (np.abs(across) < 1) & (lower - upper > 0.012)
    colour = paint.colour_N3[rows]
    lid = bump(((down - (upper + lower) / 2) / 0.20) ** 2 + (outward / 0.24) ** 2)
    colour *= (1 - 0.10 * lid)[:, None]
    fold = bump(((down - upper + 0.045 + 0.01 * person.lid_fold) / 0.018) ** 2) * step(np.abs(across), 1.15, 0.8)
    bag = bump(((down - lower - 0.055) / 0.02) ** 2) * step(np.abs(across), 0.95, 0.6)
    colour *= (1 - (0.18 + 0.32 * person.lid_fold) * fold - (0.10 + 0.10 * (not person.young)) * bag)[:, None]
    ball = _eyeball(skull, outward * right, down, across, down - upper)
    colour[within] = ball[within]
    lashes = bump(((down - upper) / (0.014 + 0.006 * (not person.male))) ** 2) * step(np.abs(across), 1.12, 0.9)
    lashes += 0.35 * bump(((down - lower) / 0.010) ** 2) * step(np.abs(across), 1.0, 0.8)
    colour *= (1 - 0.85 * np.minimum(lashes, 1))[:, None]
    paint.colour_N3[rows] = colour
    paint.gloss_N[rows[within]] = 0.5
    paint.classes_N[rows[within & (u < 0)]] = Class.LEFT_EYE
    paint.classes_N[rows[within & (u >= 0)]] = Class.RIGHT_EYE


def _eyeball(
    skull: Skull, right: np.ndarray, down: np.ndarray, across: np.ndarray, below_lid: np.ndarray
) -> np.ndarray:
    """White, iris, pupil and glint, (N, 3); `right` and `down` count from the middle of the eye in the picture."""
    scene = skull.scene
    iris_u = right - 0.055 * scene.gaze[0]
    iris_v = down + 0.012 - 0.03 * scene.gaze[1]
    radius2 = iris_u * iris_u + iris_v * iris_v
    ball = np.broadcast_to(linear(_SCLERA), (len(right), 3))
    ball = mixed(ball, (0.55, 0.22, 0.18), 0.5 * bump(((across + 0.98) / 0.20) ** 2))
    ring = linear(skull.person.iris) * (0.75 + 0.55 * step(radius2, 0.0004, 0.0030))[:, None]
    ring = mixed(ring, (0.01, 0.01, 0.01), step(radius2, 0.0026, 0.0044) * 0.8)
    ball = mixed(ball, ring, step(radius2, 0.0046, 0.0034))
    ball = mixed(ball, (0.004, 0.004, 0.004), step(radius2, 0.0009, 0.0005))
    # The lid's shadow, and the lamp in the wet eye.
    ball = ball * (1 - 0.5 * step(below_lid, 0.035, 0.0))[:, None]
    glint_u, glint_v = iris_u - (0.022 if scene.light[0] > 0 else -0.022), iris_v + 0.022
    return mixed(ball, (1.6, 1.6, 1.6), bump((glint_u * glint_u + glint_v * glint_v) / 0.00032))


def _brows(skull: Skull, u: np.ndarray, side: np.ndarray, v: np.ndarray, rows: np.ndarray, paint: Paint) -> None:
    person = skull.person
    outward = side - person.eye_distance - 0.015
    across = outward / person.brow_width
    middle = -person.brow_height - 0.05 * skull.scene.brows_up + 0.02
    line = middle - person.brow_arch * (1 - (across - 0.2) ** 2) - person.brow_tilt * outward
    half = person.brow_thickness * step(across, -1.08, -0.75) * (1 - 0.7 * step(across, 0.0, 1.0))
    here = np.abs(across) < 1.05
    edge = np.abs(v - line) + 0.003 * wave(30 * u + 9 * v)
    cover = step(edge, half + 0.010, 0.4 * half) * here * 0.9
    strands = 1 + 0.12 * wave(26 * u + 12 * v * np.sign(u))
    # Brows are never as light as hair may be.
    hair = linear(person.hair) * np.float32(0.85 if max(person.hair) < 0.6 else 0.5) * strands[:, None]
    paint.colour_N3[rows] = mixed(paint.colour_N3[rows], hair, cover)
    paint.gloss_N[rows] *= 1 - cover
    brow = here & (edge < half) & (half > 0.004)
    paint.classes_N[rows[brow & (u < 0)]] = Class.LEFT_BROW
    paint.classes_N[rows[brow & (u >= 0)]] = Class.RIGHT_BROW
