"""Are the faces of a set aligned? Judged without a network, by the mean of many pictures.

Aligned pictures have eyes on eyes and mouths on mouths: their mean is a sharp face. Two numbers say how sharp, and a
search says where the face is:

agreement   mean correlation of the details of any two pictures, 0 (nothing in common) to 1 (equal). The details are
            what is left without soft light and shade, in the part of the picture that the face fills.
fit         correlation of the mean face with a drawing of two eyes, a nose and a mouth at ArcFace's five points; the
            drawing is tried at other places and sizes too, and the best one tells where the faces really are.

Measured on 2,000 LFW pictures aligned to ArcFace's template: agreement 0.24. Each picture moved at random by up to
4 pixels, 5 degrees and 5 %: 0.18; 7 pixels, 10 degrees and 10 %: 0.10; 10 pixels, 15 degrees and 15 %: 0.04.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from recognition.faces.alignment import SIZE, TEMPLATE_52

CENTRE = TEMPLATE_52.mean(0)
MOST_PICTURES = 2000
FEWEST_PICTURES = 50  # of fewer, chance moves the agreement by more than a bad alignment does
LEAST_AGREEMENT, LEAST_FIT = 0.1, 0.4
MOST_OFF, MOST_SCALE_OFF = 0.04, 0.1  # shares of the picture and of the size of the face
_FACE = (slice(30, 104), slice(22, 90))  # rows and columns from the brows to the chin
_REACH = 9  # pixels to each side


@dataclass(frozen=True)
class Alignment:
    """How faces lie: `right` and `down` of the template by those shares of the picture, `scale` times its size."""

    pictures: int
    agreement: float
    fit: float
    right: float
    down: float
    scale: float

    @property
    def faults(self) -> list[str]:
        """Why the set does not look aligned; empty when it does."""
        if self.agreement < LEAST_AGREEMENT:
            return [f"eyes and mouths do not lie on each other (agreement {self.agreement:.2f} < {LEAST_AGREEMENT:g})"]
        if self.fit < LEAST_FIT:
            return [f"the mean picture shows no face (fit {self.fit:.2f} < {LEAST_FIT:g})"]
        faults = []
        for share, less, more in ((self.right, "left", "right"), (self.down, "up", "down")):
            if abs(share) > MOST_OFF:
                faults.append(f"the faces lie {abs(share):.0%} of the picture too far {less if share < 0 else more}")
        if abs(self.scale - 1) > MOST_SCALE_OFF:
            faults.append(f"the faces have {self.scale:.2f} times the size")
        return faults

    @property
    def verdict(self) -> str:
        """`looks aligned`, `does not look aligned: ...`, or that there is too little to tell."""
        if self.pictures < FEWEST_PICTURES:
            return f"too few pictures to tell whether they are aligned ({self.pictures} < {FEWEST_PICTURES})"
        if self.faults:
            return f"does not look aligned to ArcFace's template: {'; '.join(self.faults)}"
        return f"looks aligned to ArcFace's template (agreement {self.agreement:.2f}, fit {self.fit:.2f})"


@dataclass(frozen=True)
class FaceView:
    """What one picture gives to the mean: `colours` uint8 RGB and `details` float32, both of SIZE x SIZE."""

    colours: np.ndarray
    details: np.ndarray


def face_view(pixels_HWC: np.ndarray) -> FaceView:
    """The view of a picture, uint8 RGB of any size."""
    colours = Image.fromarray(pixels_HWC)
    if colours.size != (SIZE, SIZE):
        colours = colours.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    grey = np.asarray(colours.convert("L"), np.float32)
    details = (grey - _soft(grey)).astype(np.float32)
    face = details[_FACE]
    spread_of_details = face.std()
    # A picture of one colour has no details: it neither agrees nor disagrees.
    details = (details - face.mean()) / spread_of_details if spread_of_details > 1e-3 else np.zeros_like(details)
    return FaceView(np.asarray(colours), details)


class MeanFace:
    """The mean of pictures, added one after another."""

    def __init__(self) -> None:
        self.pictures = 0
        self._colours = np.zeros((SIZE, SIZE, 3))
        self._details = np.zeros((SIZE, SIZE))

    def add(self, view: FaceView) -> None:
        """Take a picture in."""
        self.pictures += 1
        self._colours += view.colours
        self._details += view.details

    def colours(self) -> np.ndarray:
        """The mean picture, uint8 (SIZE, SIZE, 3) RGB."""
        return (self._colours / max(self.pictures, 1)).round().astype(np.uint8)

    def marked(self, times: int = 4) -> Image.Image:
        """The mean picture `times` enlarged, with ArcFace's five points as rings."""
        picture = Image.fromarray(self.colours()).resize((SIZE * times, SIZE * times), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(picture)
        for x, y in (TEMPLATE_52 + 0.5) * times:
            draw.circle((x, y), 3 * times, outline="black", width=times)
            draw.circle((x, y), 3 * times - 1, outline="white", width=times // 2)
        return picture

    def alignment(self) -> Alignment:
        """How the pictures lie."""
        count = self.pictures
        details = self._details / max(count, 1)
        # The square of a mean holds each picture with itself (correlation 1) beside the pairs that are asked for.
        agreement = (count * float((details[_FACE] ** 2).mean()) - 1) / (count - 1) if count > 1 else 0.0
        fit, scale, right, down = max((_fit(details, *at), *at) for at in _coarse())
        fit, scale, right, down = max((_fit(details, *at), *at) for at in _fine(scale, right, down))
        return Alignment(count, agreement, fit, right / SIZE, down / SIZE, scale)


def _coarse() -> Iterator[tuple[float, int, int]]:
    for scale in np.arange(50, 151, 10) / 100:
        for right in range(-15, 16, 3):
            for down in range(-18, 19, 3):
                yield float(scale), right, down


def _fine(scale: float, right: int, down: int) -> Iterator[tuple[float, int, int]]:
    for times in (-0.08, -0.04, 0.0, 0.04, 0.08):
        for right_too in range(right - 2, right + 3):
            for down_too in range(down - 2, down + 3):
                yield scale + times, right_too, down_too


def _fit(details: np.ndarray, scale: float, right: int, down: int) -> float:
    """Correlation of the mean details with the drawn face at that size and place, where the face is."""
    drawn, weight = _drawn_face(round(scale, 2))
    rows, columns = slice(SIZE - down, 2 * SIZE - down), slice(SIZE - right, 2 * SIZE - right)
    drawn, weight = drawn[rows, columns], weight[rows, columns]
    weight = weight / weight.sum()
    one = details - (weight * details).sum()
    two = drawn - (weight * drawn).sum()
    scales = (weight * one * one).sum() * (weight * two * two).sum()
    return float((weight * one * two).sum() / np.sqrt(scales)) if scales > 0 else 0.0


@cache
def _drawn_face(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Details of a drawn face of that size and the weight of each pixel; three pictures wide, to be moved about."""
    rows, columns = np.mgrid[-SIZE : 2 * SIZE, -SIZE : 2 * SIZE].astype(np.float64)

    def blob(at: np.ndarray, width: float, height: float, power: int = 1) -> np.ndarray:
        x, y = (at - CENTRE) * scale + CENTRE
        far = ((columns - x) / (width * scale)) ** 2 + ((rows - y) / (height * scale)) ** 2
        return np.exp(-(far**power) / 2)

    left_eye, right_eye, nose, left_corner, right_corner = TEMPLATE_52
    eyes = blob(left_eye, 6, 3.5) + blob(right_eye, 6, 3.5)
    mouth = blob((left_corner + right_corner) / 2, 9, 3)
    nostrils = blob(nose + (0, 4), 7, 3) / 2
    dark = -(eyes + mouth + nostrils)
    return dark - _soft(dark), blob(CENTRE, 30, 36, power=2)


def _soft(picture: np.ndarray) -> np.ndarray:
    """Light and shade alone, float64: three box blurs from each side, nearly a Gaussian of 9.5 pixels.

    No matrix product: these run in many threads at once, and each would start the threads of the BLAS library.
    """
    for axis in (0, 1) * 3:
        reach = [(0, 0), (0, 0)]
        reach[axis] = (_REACH + 1, _REACH)
        sums = np.pad(picture, reach, mode="edge").cumsum(axis, dtype=np.float64)
        length = 2 * _REACH + 1
        upper, lower = (sums[length:], sums[:-length]) if axis == 0 else (sums[:, length:], sums[:, :-length])
        picture = (upper - lower) / length
    return picture
