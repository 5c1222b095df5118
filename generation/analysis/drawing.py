"""A picture with what was found in it, and a legend of what was drawn; a colour always stands for the same thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from generation.analysis.faces import AnalysedFace
from generation.analysis.landmarks import IN_68, IN_68_3D, IN_106
from generation.parsing.overlay import COLOURS
from generation.pose import rotation_matrices
from recognition.faces.detection import resized
from recognition.heads.classes import NAMES

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]  # x1, y1, x2, y2
# Light, so that they are seen on faces; told apart by the colour-blind by lightness, and by the size of their dots.
BOX, FIVE = (255, 214, 0), (255, 255, 255)
LANDMARKS: dict[str, Colour] = {IN_106: (255, 128, 214), IN_68: (110, 245, 255), IN_68_3D: (255, 172, 90)}
AXES: tuple[tuple[str, Colour], ...] = (
    ("to the picture's right", (255, 92, 80)),
    ("down the face", (70, 210, 110)),
    ("where the face looks", (90, 150, 255)),
)
PAPER, INK = (24, 30, 38), (240, 243, 246)
MASK_SHARE, AXIS_SHARE = 0.45, 0.55
SHORTEST, LONGEST = 640, 1600  # of the longer side of what is drawn on
LITTLE = 0.1
FINER = 2  # drawn so many times as large, then made smaller: lines without steps


def mask_over(pixels_HWC: np.ndarray, faces: Sequence[AnalysedFace]) -> tuple[np.ndarray, np.ndarray | None]:
    """The picture with its faces' parts in their colours, and the classes, uint8 (H, W); None where nothing was parsed.

    Where faces overlap the surer one, which comes first, is in front.
    """
    masks = [face.mask for face in faces if face.mask is not None]
    if not masks:
        return pixels_HWC, None
    classes_HW = np.zeros(pixels_HWC.shape[:2], np.uint8)
    for mask in reversed(masks):
        mask.laid_on(classes_HW)
    share_HW1 = np.where(classes_HW > 0, MASK_SHARE, 0.0)[..., None]
    mixed_HWC = pixels_HWC * (1 - share_HW1) + COLOURS[classes_HW] * share_HW1
    return np.rint(mixed_HWC).astype(np.uint8), classes_HW


def annotated(pixels_HWC: np.ndarray, faces: Sequence[AnalysedFace]) -> np.ndarray:
    """The picture, uint8 (H, W, 3), with boxes, points, landmarks, poses and parts drawn on it, and a legend below.

    A small picture is enlarged and a large one made smaller, so that all of it can be read.
    """
    shown_HWC, classes_HW = mask_over(pixels_HWC, faces)
    longer = max(pixels_HWC.shape[:2])
    scale = min(max(longer, SHORTEST), LONGEST) / longer
    image = Image.fromarray(resized(shown_HWC, scale * FINER))
    pen = _Pen(ImageDraw.Draw(image), scale * FINER, FINER * min(max(max(image.size) / FINER / 900, 1.0), 1.5))
    for face in faces:
        pen.face(face)
    taken: list[Rectangle] = [tuple(pen.place(face.box_4.reshape(2, 2)).ravel().tolist()) for face in faces]
    for face in faces:
        taken.append(pen.label(face, image.size, taken))
    strip = _legend(_entries(faces, classes_HW), image.width, pen.unit)
    whole = Image.new("RGB", (image.width, image.height + strip.height), PAPER)
    whole.paste(image)
    whole.paste(strip, (0, image.height))
    return np.asarray(whole.resize((round(whole.width / FINER), round(whole.height / FINER)), Image.Resampling.BOX))


def label_of(face: AnalysedFace) -> str:
    """What stands beside a face's box, in two lines where a pose is known."""
    words = [f"{face.score:.2f}"]
    if face.gender_age is not None:
        words.append(f"{face.gender_age.gender}, {face.gender_age.age_years} years")
    lines = ["  ".join(words)]
    if face.pose is not None:
        lines.append("pitch {:+.0f}°  yaw {:+.0f}°  roll {:+.0f}°".format(*face.pose.pitch_yaw_roll_deg))
    return "\n".join(lines)


class _Pen:
    """`scale`: pixels drawn for one of the picture's; `unit`: the width of a thin line."""

    def __init__(self, draw: ImageDraw.ImageDraw, scale: float, unit: float) -> None:
        self.draw, self.scale, self.unit = draw, scale, unit

    def place(self, points_N2: np.ndarray) -> np.ndarray:
        return (points_N2.astype(np.float64) + 0.5) * self.scale - 0.5

    def face(self, face: AnalysedFace) -> None:
        box_22 = self.place(face.box_4.reshape(2, 2))
        self.draw.rectangle(box_22.ravel().tolist(), outline=BOX, width=round(2 * self.unit))
        # Dots that run into each other show nothing: on a small face they are smaller.
        dot = min(1.8 * self.unit, float((box_22[1] - box_22[0]).min()) / 70)
        for kind, entry in face.landmarks.items():
            self.dots(entry.points_N2, LANDMARKS[kind], dot)
        if face.points_52 is not None:
            self.dots(face.points_52, FIVE, 1.7 * dot)
        if face.pose is not None:
            self.axes(face, box_22)

    def dots(self, points_N2: np.ndarray, colour: Colour, radius: float) -> None:
        for x, y in self.place(points_N2):
            edge = (x - radius, y - radius, x + radius, y + radius)
            self.draw.ellipse(edge, fill=colour, outline=PAPER if radius > 4 else None)

    def axes(self, face: AnalysedFace, box_22: np.ndarray) -> None:
        turn_33 = rotation_matrices(torch.tensor([face.pose.pitch_yaw_roll_deg], dtype=torch.float64))[0].numpy()
        start_2 = box_22.mean(0) if face.points_52 is None else self.place(face.points_52)[2]
        length = AXIS_SHARE * float((box_22[1] - box_22[0]).mean())
        for axis, (_, colour) in enumerate(AXES):
            end_2 = start_2 + length * turn_33[:2, axis]
            self.draw.line((*start_2, *end_2), fill=colour, width=round(2.5 * self.unit))

    def label(self, face: AnalysedFace, size: tuple[int, int], taken: Sequence[Rectangle]) -> Rectangle:
        """Write it where nothing is taken, shorter where that helps; the place that it takes."""
        font, pad = _font(self.unit), 3 * self.unit
        own = tuple(self.place(face.box_4.reshape(2, 2)).ravel().tolist())
        places = []
        for text in dict.fromkeys((label_of(face), label_of(face).split("\n")[0], f"{face.score:.2f}")):
            left, top, right, low = self.draw.multiline_textbbox((0, 0), text, font=font)
            for place in self._around(own, right - left + 2 * pad, low - top + 2 * pad, size):
                # A label may cover a little of its own face, but nothing of another's.
                covered = _shared(place, own) > LITTLE * _shared(own, own)
                others = sum(_shared(place, other) for other in taken if other != own)
                places.append(((others, covered), place, text, (left, top)))
        best = min(places, key=lambda each: each[0])
        _, place, text, (left, top) = next((each for each in places if each[0] == (0, False)), best)
        self.draw.rectangle(place, fill=PAPER)
        self.draw.multiline_text((place[0] + pad - left, place[1] + pad - top), text, font=font, fill=INK)
        return place

    def _around(self, box: Rectangle, wide: float, high: float, size: tuple[int, int]) -> list[Rectangle]:
        """Places of a label that touch the box and lie in the picture, the best first."""
        x1, y1, x2, y2 = box
        edge = 2 * self.unit  # the box's own line
        beside = [(x2 + edge, y1), (x1 - wide - edge, y1)]
        corners = [(x, y) for y in (y1 - high - edge, y2 + edge) for x in (x1, x2 - wide)] + beside
        kept = [(min(max(x, 0), max(size[0] - wide, 0)), min(max(y, 0), max(size[1] - high, 0))) for x, y in corners]
        return [(x, y, x + wide, y + high) for x, y in kept]


def _shared(a: Rectangle, b: Rectangle) -> float:
    """The area of what two rectangles have in common."""
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def _font(unit: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=13 * unit)


def _entries(faces: Sequence[AnalysedFace], classes_HW: np.ndarray | None) -> list[tuple[str, Colour]]:
    """What is in the picture, in words, and its colour."""
    said: list[tuple[str, Colour]] = []
    if faces:
        said.append((f"{len(faces)} face{'s' if len(faces) > 1 else ''} and the detector's score", BOX))
    if any(face.points_52 is not None for face in faces):
        said.append(("five points", FIVE))
    kinds = {kind for face in faces for kind in face.landmarks}
    said += [(f"landmarks: {kind}", colour) for kind, colour in LANDMARKS.items() if kind in kinds]
    if any(face.pose is not None for face in faces):
        said += AXES
    if classes_HW is not None:
        there = np.unique(classes_HW[classes_HW > 0]).tolist()
        said += [(NAMES[index], tuple(COLOURS[index].tolist())) for index in there]
    return said or [("no face found", PAPER)]


def _legend(entries: Sequence[tuple[str, Colour]], width: int, unit: float) -> Image.Image:
    """A strip as wide as the picture, as high as its lines."""
    font, pad, swatch, line = _font(unit), 8 * unit, 11 * unit, 21 * unit
    places, x, y = [], pad, pad
    for text, colour in entries:
        wide = swatch + pad / 2 + font.getlength(text) + 2 * pad
        if x + wide > width and x > pad:
            x, y = pad, y + line
        places.append((x, y, text, colour))
        x += wide
    strip = Image.new("RGB", (width, round(y + line + pad / 2)), PAPER)
    draw = ImageDraw.Draw(strip)
    for x, y, text, colour in places:
        draw.rectangle((x, y + unit, x + swatch, y + unit + swatch), fill=colour)
        draw.text((x + swatch + pad / 2, y + unit + swatch / 2), text, font=font, fill=INK, anchor="lm")
    return strip
