"""A raw photo -> one aligned face, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from recognition.data.decode import Where, upright_image
from recognition.errors import InputError
from recognition.faces.alignment import SIZE, align
from recognition.faces.detection import Detector, Face, resized

UNREADABLE, NO_FACE, LOW_SCORE, TOO_SMALL, SEVERAL = "unreadable", "no face", "low score", "too small", "several faces"
REASONS = (UNREADABLE, NO_FACE, LOW_SCORE, TOO_SMALL, SEVERAL)
LARGEST, CENTRAL, ONLY = "largest", "central", "only"
CHOICES = (LARGEST, CENTRAL, ONLY)
# What a detector for `Aligner` should still report, so that a face that is not sure enough can be told from none.
FAINT_SCORE = 0.3
VIEW_SIDE, LARGE_VIEW_SIDE = 640, 1280
MOST_GROWTH = 2.0
MAX_SIZE = 4096
# A face that is smaller than this in the view is looked at again, alone: so large, in a part so many times its size.
CLOSER_BELOW, CLOSE_SIZE, CLOSE_PART, MOST_CLOSE_GROWTH = 64, 128, 3, 4.0
THUMBNAIL_SIDE, BOX_COLOUR = 128, (255, 214, 0)


@dataclass(frozen=True, eq=False)
class Aligned:
    """`crop_SSC`: uint8 (size, size, 3) RGB; `face`: in pixels of the upright photo; `num_faces`: good enough ones."""

    crop_SSC: np.ndarray
    face: Face
    num_faces: int


@dataclass(frozen=True)
class Rejected:
    """`reason`: one of REASONS; `detail`: the numbers, or the error; `thumbnail`: a JPEG, empty when unreadable."""

    reason: str
    detail: str
    thumbnail: bytes = b""


@dataclass(frozen=True)
class View:
    """How a photo is shown to the detector: first `border` black pixels on each side, then `scale` times as large."""

    scale: float
    border: int = 0


def views(height: int, width: int) -> Iterator[View]:
    """What is tried in turn, until a face is found.

    Detectors know faces from about 10 to 300 pixels that have something around them. So: the photo with its longer side
    brought down to 640 pixels; then with a border of half its size and up to twice as large, for a face that fills the
    photo; then at 1280 pixels, for a small face in a large photo.
    """
    longest = max(height, width)
    yield View(min(1.0, VIEW_SIDE / longest))
    border = -(-longest // 2)
    yield View(min(MOST_GROWTH, VIEW_SIDE / (longest + 2 * border)), border)
    if longest > VIEW_SIDE:
        yield View(min(1.0, LARGE_VIEW_SIDE / longest))


def faces_in_view(detector: Detector, pixels_HWC: np.ndarray, view: View) -> list[Face]:
    """Faces that the detector finds in that view, in pixels of the photo itself."""
    height, width = pixels_HWC.shape[:2]
    part = (-view.border, -view.border, width + view.border, height + view.border)
    return _faces_in_part(detector, pixels_HWC, part, view.scale)


def closer(detector: Detector, pixels_HWC: np.ndarray, face: Face) -> Face:
    """The face as it is found once more in the part of the photo around it, shown as large as detectors like it.

    In a view of a large photo a face may be a few pixels, and its points are no better than these. Where nothing is
    found the face stays as it was.
    """
    reach = np.float32(CLOSE_PART / 2 * face.size)
    part = (*np.floor(face.center_2 - reach).astype(int), *np.ceil(face.center_2 + reach).astype(int))
    found = _faces_in_part(detector, pixels_HWC, part, min(CLOSE_SIZE / face.size, MOST_CLOSE_GROWTH))
    return min(found, key=lambda other: float(np.abs(other.points_52 - face.points_52).sum()), default=face)


def _faces_in_part(detector: Detector, pixels_HWC: np.ndarray, part: tuple[int, ...], scale: float) -> list[Face]:
    """Faces in the part x1, y1, x2, y2 of a photo, black where it reaches beyond it, `scale` times as large."""
    height, width = pixels_HWC.shape[:2]
    x1, y1, x2, y2 = part
    left, top = max(x1, 0), max(y1, 0)
    shown_HWC = pixels_HWC[top : min(y2, height), left : min(x2, width)]
    shown_HWC = resized(shown_HWC, scale) if scale != 1 else shown_HWC
    # Black is added at the end: around a large photo there would be much of it.
    before_x, after_x, before_y, after_y = (
        round(max(beyond, 0) * scale) for beyond in (-x1, x2 - width, -y1, y2 - height)
    )
    shown_HWC = np.pad(shown_HWC, [(before_y, after_y), (before_x, after_x), (0, 0)])
    found = detector.detect(shown_HWC)
    return [face.placed(1 / scale, left - before_x / scale, top - before_y / scale) for face in found]


def choose(faces: list[Face], choice: str, height: int, width: int) -> Face | None:
    """The face that is meant, of at least one; None when it should be the only one and is not."""
    if choice == ONLY:
        return faces[0] if len(faces) == 1 else None
    if choice == LARGEST:
        return max(faces, key=lambda face: face.area)
    middle_2 = np.array([width - 1, height - 1]) / 2
    return min(faces, key=lambda face: float(np.square(face.center_2 - middle_2).sum()))


@dataclass(frozen=True)
class Aligner:
    """Called from many threads at once. A face must have `min_score` and a box of `min_size` pixels (shorter side)."""

    detector: Detector
    choice: str = LARGEST
    min_score: float = 0.6
    min_size: int = 32
    size: int = SIZE
    antialias: bool = True

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise InputError(f"face {self.choice!r} is not known; use one of {', '.join(CHOICES)}")
        if not FAINT_SCORE <= self.min_score <= 1:
            raise InputError(f"min score {self.min_score:g} must be {FAINT_SCORE} to 1: below, everything is a face")
        if not 1 <= self.size <= MAX_SIZE:
            raise InputError(f"image size {self.size} must be 1 to {MAX_SIZE} pixels")

    def __call__(self, payload: bytes | memoryview, where: Where) -> Aligned | Rejected:
        """The face in an image file, its EXIF orientation applied; a file that is no picture is rejected, too."""
        try:
            pixels_HWC = np.asarray(upright_image(payload, where))
        except InputError as error:
            return Rejected(UNREADABLE, str(error))
        return self.face_of(pixels_HWC)

    def face_of(self, pixels_HWC: np.ndarray) -> Aligned | Rejected:
        """The face in a picture, uint8 (H, W, 3) RGB."""
        seen: list[Face] = []
        for view in views(*pixels_HWC.shape[:2]):
            found = faces_in_view(self.detector, pixels_HWC, view)
            seen += found
            good = [face for face in found if face.score >= self.min_score and face.size >= self.min_size]
            if good:
                return self._aligned(pixels_HWC, good, view)
        return self._none_good(pixels_HWC, seen)

    def _aligned(self, pixels_HWC: np.ndarray, good: list[Face], view: View) -> Aligned | Rejected:
        face = choose(good, self.choice, *pixels_HWC.shape[:2])
        if face is None:
            return Rejected(SEVERAL, f"{len(good)} faces", thumbnail(pixels_HWC, good))
        if face.size * view.scale < CLOSER_BELOW:
            face = closer(self.detector, pixels_HWC, face)
        crop_SSC = align(pixels_HWC, face.points_52, size=self.size, antialias=self.antialias)
        return Aligned(crop_SSC, face, len(good))

    def _none_good(self, pixels_HWC: np.ndarray, seen: list[Face]) -> Rejected:
        picture = thumbnail(pixels_HWC, seen)
        if not seen:
            return Rejected(NO_FACE, f"photo of {pixels_HWC.shape[1]}x{pixels_HWC.shape[0]} pixels", picture)
        sure = [face for face in seen if face.score >= self.min_score]
        if not sure:
            best = max(face.score for face in seen)
            return Rejected(LOW_SCORE, f"best score {best:.2f}, {self.min_score:g} wanted", picture)
        largest = max(face.size for face in sure)
        return Rejected(TOO_SMALL, f"face of {largest:.0f} pixels, {self.min_size} wanted", picture)


def thumbnail(pixels_HWC: np.ndarray, faces: list[Face]) -> bytes:
    """A small JPEG of a photo with the boxes of these faces."""
    image = Image.fromarray(pixels_HWC)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    scale = image.width / pixels_HWC.shape[1]
    draw = ImageDraw.Draw(image)
    for face in faces:
        draw.rectangle((face.box_4 * scale).round().tolist(), outline=BOX_COLOUR, width=2)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()
