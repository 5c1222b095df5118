"""The head as a surface: outlines of a skull, and what stands out of it or lies in it, as functions of two coordinates.

A place on the face is (u, v): u to the picture's right in decimetres, v down, 0 on the line of the eyes, -1.17 at the
crown and 1.12 at the chin of every person; the painter uses the same coordinates, so that a colour cannot slip off the
shape that it belongs to. Depth z at (u, v) is explicit, so a point of the face is exact whatever the mesh.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from recognition.heads.curves import bump, step, through
from recognition.heads.person import HairStyle, Person
from recognition.heads.scene import Scene

CROWN, CHIN = -1.17, 1.12
_KNOTS = (CROWN, -0.55, -0.15, 0.10, 0.35, 0.60, 0.80, 0.95, CHIN)
# Half width, depths of the foremost, hindmost and widest place, and squareness, at each knot.
_HALF_WIDTH = (0.76, 0.765, 0.755, 0.735, 0.70, 0.640, 0.550, 0.440, 0.33)
_FRONT = (0.84, 0.885, 0.905, 0.875, 0.880, 0.900, 0.890, 0.895, 0.875)
_BACK = (-1.00, -1.03, -1.03, -0.92, -0.75, -0.50, -0.20, 0.10, 0.35)
_WIDEST = (-0.08, -0.08, -0.05, 0.00, 0.06, 0.12, 0.24, 0.42, 0.60)
_SQUARE = (0.10, 0.25, 0.40, 0.35, 0.25, 0.20, 0.15, 0.10, 0.05)
_TOP_CAP, _CHIN_CAP = -0.55, 0.74


class Outline(NamedTuple):
    """Cross sections of the skull at heights v: half width; depth of front, back and widest place; squareness."""

    half_width: np.ndarray
    front: np.ndarray
    back: np.ndarray
    widest: np.ndarray
    square: np.ndarray


class Skull:
    """The surface of one person's head with one expression."""

    def __init__(self, person: Person, scene: Scene) -> None:
        self.person, self.scene = person, scene
        p = person
        wide = p.skull_width
        cheek, jaw = wide * p.cheek_width, wide * p.jaw_width
        chin = jaw * (1 + 0.45 * p.jaw_square)
        factors = (wide, wide, wide, cheek, cheek, (cheek + jaw) / 2 + p.fullness, jaw + p.fullness, chin, chin)
        half_width = [base * factor for base, factor in zip(_HALF_WIDTH, factors)]
        slope, chin_z = p.forehead_slope, p.chin_forward
        forward = (-slope, -0.6 * slope, p.brow_ridge * 0.4, 0, 0, chin_z * 0.2, chin_z * 0.5, chin_z, chin_z)
        front = [base + more for base, more in zip(_FRONT, forward)]
        self._sections = np.array([half_width, front, _BACK, _WIDEST, _SQUARE], np.float32)
        self.nose_tip_v = p.nose_length
        self.nose_base_v = p.nose_length + 0.10
        self.mouth_v = p.nose_length + p.mouth_gap
        self.mouth_half_width = p.mouth_width * (1 + 0.22 * scene.smile - 0.10 * scene.mouth_open)
        self.lip_gap = 0.13 * scene.mouth_open + 0.035 * max(0.0, scene.smile - 0.45)

    def outline(self, v: np.ndarray) -> Outline:
        """The cross sections at heights v, float32."""
        v = np.asarray(v, np.float32)
        over = np.clip((_TOP_CAP - v) / (_TOP_CAP - CROWN), 0, 1)
        under = np.clip((v - _CHIN_CAP) / (CHIN - _CHIN_CAP), 0, 1)
        cap = np.sqrt(1 - over * over) * np.sqrt(1 - under * under)
        half_width, front, back, widest, square = through(_KNOTS, self._sections, v)
        front, back = widest + (front - widest) * cap, widest + (back - widest) * cap
        return Outline(half_width * cap, front, back, widest, square)

    def height(self, v: np.ndarray) -> np.ndarray:
        """y of v: longer or shorter chins and skulls, and a jaw that drops as the mouth opens."""
        dropped = 0.9 * self.lip_gap * step(v, self.mouth_v - 0.02, self.mouth_v + 0.12)
        stretch = np.where(v > 0, np.float32(self.person.chin_length), np.float32(self.person.skull_height))
        return v * stretch + dropped

    def face(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Places (..., 3) of the face at (u, v), float32, with all relief; |u| up to the outline's half width."""
        u, v = np.asarray(u, np.float32), np.asarray(v, np.float32)
        outline = self.outline(v)
        across = np.clip(u / np.maximum(outline.half_width, np.float32(1e-6)), -1, 1)
        z = outline.widest + (outline.front - outline.widest) * roundness(across, outline.square)
        return np.stack([u, self.height(v), z + self.relief(u, v)], axis=-1)

    def relief(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """How far the face at (u, v) stands out of the smooth skull, towards the viewer, in decimetres."""
        side = np.abs(u)
        return self._nose(side, v) + self._eyes(side, v) + self._cheeks(side, v) + self._mouth(side, v)

    def mouth_line(self, u: np.ndarray) -> np.ndarray:
        """v of the line between the lips: level at rest, its corners up when the face smiles."""
        across = (u / self.mouth_half_width) ** 2
        return self.mouth_v + self.scene.smile * (0.02 - 0.075 * across) + 0.006 * across

    @cached_property
    def points(self) -> np.ndarray:
        """The eyes, the tip of the nose and the corners of the mouth, picture's left first: float32 (5, 3)."""
        return self._measured[:5]

    @cached_property
    def extent(self) -> np.ndarray:
        """Places all over the face, from the usual hairline to the chin and from cheek to cheek: float32 (N, 3)."""
        return self._measured[5:]

    @cached_property
    def _measured(self) -> np.ndarray:
        eye, corner = self.person.eye_distance, self.mouth_half_width
        u = np.array([-eye, eye, 0, -corner, corner], np.float32)
        v = np.array([0, 0, self.nose_tip_v, 0, 0], np.float32)
        v[3:] = self.mouth_line(u[3:])
        heights = np.linspace(-0.60, 1.10, 18, dtype=np.float32)[:, None]
        all_over = self.outline(heights).half_width * np.linspace(-0.98, 0.98, 15, dtype=np.float32)
        heights = np.broadcast_to(heights, all_over.shape)
        return self.face(np.concatenate([u, all_over.ravel()]), np.concatenate([v, heights.ravel()]))

    def _nose(self, side: np.ndarray, v: np.ndarray) -> np.ndarray:
        p = self.person
        root = -0.06
        along = np.clip((v - root) / (self.nose_tip_v - root), 0, 1)
        bridge = p.nose_bridge * along + (1 - p.nose_bridge) * along * along
        rise = p.nose_root * step(v, root - 0.12, root + 0.06)
        rise = rise + p.nose_height * bridge * step(v, root - 0.02, root + 0.16)
        fall = step(v, self.nose_base_v + 0.005, self.nose_tip_v + 0.01)
        half_width = 0.095 + (0.55 * p.nose_width + 0.03 - 0.095) * along * along
        ridge = rise * fall * bump((side / half_width) ** 2 * 0.8)
        wing_u, wing_v = 0.72 * p.nose_width, self.nose_tip_v + 0.035
        wings = (0.03 + 0.35 * p.nose_height) * bump(((side - wing_u) / 0.085) ** 2 + ((v - wing_v) / 0.10) ** 2)
        tip = p.nose_tip * bump((side / 0.11) ** 2 + ((v - self.nose_tip_v) / 0.11) ** 2)
        return np.maximum(ridge, wings) + tip

    def _eyes(self, side: np.ndarray, v: np.ndarray) -> np.ndarray:
        p = self.person
        socket = -p.eye_depth * bump(((side - p.eye_distance) / 0.27) ** 2 + ((v + 0.02) / 0.19) ** 2)
        ball = 0.055 * bump(((side - p.eye_distance) / 0.18) ** 2 + (v / 0.12) ** 2)
        ridge = p.brow_ridge * bump(((side - 0.26) / 0.34) ** 2 + ((v + p.brow_height) / 0.13) ** 2)
        bag = -0.012 * (not p.young) * bump(((side - p.eye_distance) / 0.2) ** 2 + ((v - 0.15) / 0.05) ** 2)
        return socket + ball + ridge + bag

    def _cheeks(self, side: np.ndarray, v: np.ndarray) -> np.ndarray:
        p, smile = self.person, self.scene.smile
        bones = p.cheekbones * bump(((side - 0.46) / 0.26) ** 2 + ((v - 0.22) / 0.24) ** 2)
        apples = 0.055 * smile * bump(((side - 0.40) / 0.20) ** 2 + ((v - 0.36) / 0.20) ** 2)
        hollow = -(0.04 - p.fullness * 0.5) * bump(((side - 0.48) / 0.22) ** 2 + ((v - 0.58) / 0.22) ** 2)
        fold_u = 0.20 + 0.35 * np.maximum(v - self.nose_tip_v, 0)
        fold = -(0.012 + 0.02 * smile + 0.015 * (not p.young)) * bump(
            ((side - fold_u) / 0.06) ** 2 + ((v - self.nose_base_v - 0.05) / 0.17) ** 2
        )
        return bones + apples + hollow + fold

    def _mouth(self, side: np.ndarray, v: np.ndarray) -> np.ndarray:
        p = self.person
        line, half_width = self.mouth_v, self.mouth_half_width
        upper = 0.055 * bump((side / half_width) ** 2 + ((v - line + p.upper_lip * 0.6) / 0.085) ** 2)
        lower = 0.060 * bump((side / (0.85 * half_width)) ** 2 + ((v - line - p.lower_lip * 0.6) / 0.09) ** 2)
        between = -0.035 * bump((side / half_width) ** 2 + ((v - line) / 0.025) ** 2)
        under = -0.04 * bump((side / 0.22) ** 2 + ((v - line - 0.19) / 0.08) ** 2)
        chin = 0.06 * bump((side / 0.24) ** 2 + ((v - 1.0) / 0.13) ** 2)
        muzzle = 0.03 * bump((side / 0.42) ** 2 + ((v - line) / 0.28) ** 2)
        return upper + lower + between + under + chin + muzzle


def roundness(across: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Depth, 1 in the middle and 0 at |across| = 1, of a cross section between a circle and a rounded square."""
    squared = across * across
    circle = np.sqrt(np.maximum(1 - squared, 0))
    return circle + (np.sqrt(np.sqrt(np.maximum(1 - squared * squared, 0))) - circle) * square


def hair_below(person: Person, u: np.ndarray, z: np.ndarray) -> np.ndarray:
    """v of the lower end of the hair at (u, z) of the smooth skull: hairline in front, sideburns, nape behind."""
    if person.hair_style is HairStyle.BALD:
        return np.full_like(z, -9)
    line = person.hairline + 0.10 * u * u
    if person.hair_style is HairStyle.FRINGE:
        line = -0.31 - 0.06 * np.abs(u - person.hair_parting)
    elif person.hair_style in (HairStyle.BOB, HairStyle.LONG):
        # Parted: highest at the parting.
        line = person.hairline - 0.03 + 0.42 * (u - 0.6 * person.hair_parting) ** 2
    temple = through((-0.6, -0.25, -0.05, 0.12, 0.22, 0.36, 0.55), (0.62, 0.42, 0.02, 0.16, 0.10, -0.30, -0.62), z)
    return line + (np.maximum(temple, line) - line) * step(z, 0.72, 0.50)
