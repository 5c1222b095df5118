"""Which face of a photo is taken, from which view of it, and why a photo is left out."""

import io
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from recognition.errors import InputError
from recognition.faces.alignment import TEMPLATE_52, align, similarity
from recognition.faces.opening import open_detector
from recognition.faces.photos import (
    BOX_COLOUR,
    FAINT_SCORE,
    REASONS,
    THUMBNAIL_SIDE,
    Aligned,
    Aligner,
    Rejected,
    View,
    views,
)
from tests.faces.pasted import crops_of_faces, paste, to_photo, wall
from tests.faces.red_faces import RedFaces, photo_of
from tests.pictures import encoded

GOOD = 90


def here() -> str:
    return "here.jpg"


def face_of(picture: np.ndarray, **options) -> Aligned | Rejected:
    return Aligner(RedFaces(), **options).face_of(picture)


@dataclass(frozen=True)
class Watched(RedFaces):
    """Notes the sizes (width, height) of what it is shown."""

    seen: list = field(default_factory=list)

    def detect(self, pixels_HWC):
        self.seen.append(pixels_HWC.shape[1::-1])
        return super().detect(pixels_HWC)


# --- views ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((112, 92), [View(1), View(2, 56)]),
        ((480, 640), [View(1), View(0.5, 320)]),
        ((3000, 4000), [View(0.16), View(0.08, 2000), View(0.32)]),
        ((1000, 801), [View(0.64), View(0.32, 500), View(1)]),
    ],
)
def test_views_of_small_and_large_photos(size, expected):
    assert list(views(*size)) == expected


@pytest.mark.parametrize(
    ("width", "height", "square", "shown"),
    [
        (400, 300, (100, 80, 120), [(400, 300)]),
        (92, 112, (1, 5, 90), [(92, 112), (408, 448)]),
        (600, 620, (20, 20, 560), [(600, 620), (630, 640)]),
        (2400, 1600, (1100, 700, 300), [(640, 427)]),
        (4000, 3000, (1000, 2000, 56), [(640, 480), (640, 560), (1280, 960)]),
    ],
    ids=["as it is", "fills a small photo", "fills a photo", "large photo", "small face in a large photo"],
)
def test_the_face_is_found_in_the_first_view_that_shows_it(width, height, square, shown):
    x, y, side = square
    detector = Watched()
    found = Aligner(detector).face_of(photo_of(width, height, (*square, GOOD)))
    assert detector.seen[: len(shown)] == shown
    view_pixel = max(1, max(width, height) / 640)
    np.testing.assert_allclose(found.face.box_4, [x, y, x + side - 1, y + side - 1], atol=1.5 * view_pixel)


def test_views_end_where_a_face_was_found():
    detector = Watched()
    Aligner(detector).face_of(photo_of(2400, 1600, (1100, 700, 400, GOOD)))
    assert detector.seen == [(640, 427)]


@pytest.mark.parametrize("corner", [(1000, 2000), (4, 4), (3875, 2875)], ids=["within", "upper left", "lower right"])
def test_a_face_that_is_small_in_the_view_is_looked_at_closer(corner):
    """20 pixels of a view of 640 are 125 of the photo: points to a pixel of the view are 6 pixels wrong."""
    x, y, side = *corner, 120
    found = face_of(photo_of(4000, 3000, (x, y, side, GOOD)))
    np.testing.assert_allclose(found.face.box_4, [x, y, x + side - 1, y + side - 1], atol=1.1)


def test_a_closer_look_that_finds_nothing_changes_nothing():
    class OnlyWhole(RedFaces):
        def detect(self, pixels_HWC):
            return super().detect(pixels_HWC) if pixels_HWC.shape[1] == 640 else []

    found = Aligner(OnlyWhole()).face_of(photo_of(4000, 3000, (1000, 2000, 130, GOOD)))
    np.testing.assert_allclose(found.face.box_4, [1000, 2000, 1129, 2129], atol=7)


def test_a_closer_look_keeps_to_its_face():
    """A neighbour that is within the part that is shown, and surer, is another face."""
    picture = photo_of(4000, 3000, (1000, 2000, 120, GOOD), (905, 2000, 64, 95))
    np.testing.assert_allclose(face_of(picture).face.box_4, [1000, 2000, 1119, 2119], atol=1.1)


# --- which face -------------------------------------------------------------------------------------------------------

LARGE, CENTRAL = (20, 20, 120, GOOD), (280, 200, 80, GOOD)


@pytest.mark.parametrize(("choice", "square"), [("largest", LARGE), ("central", CENTRAL)])
def test_the_face_that_is_meant(choice, square):
    found = face_of(photo_of(640, 480, LARGE, CENTRAL), choice=choice)
    np.testing.assert_allclose(found.face.box_4[:2], square[:2])
    assert found.num_faces == 2


def test_the_crop_is_aligned_by_the_points_of_the_face():
    picture = photo_of(640, 480, LARGE)
    found = face_of(picture, size=224)
    np.testing.assert_array_equal(found.crop_SSC, align(picture, found.face.points_52, size=224))
    assert found.crop_SSC.shape == (224, 224, 3)


def test_antialias_reaches_the_crop():
    rng = np.random.default_rng(0)
    picture = np.where(photo_of(640, 480, (100, 100, 290, GOOD)) == 90, rng.integers(0, 256, (480, 640, 3)), 200)
    picture[100:390, 100:390] = (255, 0, GOOD)
    picture = picture.astype(np.uint8)
    smooth, plain = (face_of(picture, antialias=antialias) for antialias in (True, False))
    assert np.array_equal(plain.crop_SSC, align(picture, plain.face.points_52, antialias=False))
    assert not np.array_equal(plain.crop_SSC, smooth.crop_SSC)


@pytest.mark.parametrize(
    ("squares", "options", "reason", "detail"),
    [
        ([], {}, "no face", "photo of 640x480 pixels"),
        ([(50, 50, 100, 35), (300, 50, 100, 55)], {}, "low score", "best score 0.55, 0.6 wanted"),
        ([(50, 50, 30, GOOD), (300, 50, 100, 55)], {}, "too small", "face of 29 pixels, 32 wanted"),
        ([(50, 50, 80, GOOD)], {"min_size": 90}, "too small", "face of 79 pixels, 90 wanted"),
        ([LARGE, CENTRAL], {"choice": "only"}, "several faces", "2 faces"),
    ],
)
def test_reasons(squares, options, reason, detail):
    found = face_of(photo_of(640, 480, *squares), **options)
    assert (found.reason, found.detail) == (reason, detail)
    assert reason in REASONS
    picture = np.asarray(Image.open(io.BytesIO(found.thumbnail)).convert("RGB")).astype(int)
    assert picture.shape == (96, THUMBNAIL_SIDE, 3)
    boxed = (np.abs(picture - BOX_COLOUR) < 90).all(2)
    assert boxed.any() == bool(squares)
    if squares:
        columns = np.flatnonzero(boxed.any(0))
        ends = min(x for x, *_ in squares), max(x + side for x, _, side, _ in squares)
        np.testing.assert_allclose([columns[0], columns[-1]], np.array(ends) * THUMBNAIL_SIDE / 640, atol=2.5)


@pytest.mark.parametrize(
    ("squares", "options"),
    [
        ([(50, 50, 100, 60)], {}),
        ([(50, 50, 34, GOOD)], {}),
        ([(50, 50, 20, GOOD)], {"min_size": 15}),
        ([(50, 50, 100, 35)], {"min_score": 0.3}),
        # What is faint or small besides the one face is no second one.
        ([LARGE, (300, 50, 100, 55), (300, 300, 20, GOOD)], {"choice": "only"}),
    ],
)
def test_good_enough(squares, options):
    assert isinstance(face_of(photo_of(640, 480, *squares), **options), Aligned)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"choice": "best"}, "face 'best' is not known; use one of largest, central, only"),
        ({"min_score": 0.2}, "min score 0.2 must be 0.3 to 1"),
        ({"size": 0}, "image size 0 must be 1 to 4096"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(InputError, match=words):
        Aligner(RedFaces(), **options)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    """A camera stores the turned picture and says how to turn it back; Pillow's transposes undo each other."""
    upright = Image.fromarray(photo_of(640, 480, LARGE))
    undo = Image.Transpose
    turns = [None, undo.FLIP_LEFT_RIGHT, undo.ROTATE_180, undo.FLIP_TOP_BOTTOM, undo.TRANSPOSE, undo.ROTATE_90]
    turns += [undo.TRANSVERSE, undo.ROTATE_270]
    turn = turns[orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(upright if turn is None else upright.transpose(turn), exif=exif, quality=95)
    found = Aligner(RedFaces())(stored, here)
    np.testing.assert_allclose(found.face.box_4, [20, 20, 139, 139], atol=1)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"no picture", "here.jpg: not a readable image"),
        (b"", "0 bytes"),
        (encoded(Image.new("I;16", (64, 64)), "PNG"), "more than 8 bits"),
        (encoded(photo_of(640, 480, LARGE))[:2000], "not a readable"),
    ],
    ids=["text", "empty", "16 bits", "cut short"],
)
def test_unreadable_files(payload, words):
    found = Aligner(RedFaces())(payload, here)
    assert found.reason == "unreadable"
    assert words in found.detail
    assert found.thumbnail == b""


# --- real faces -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_dir):
    path = shared_dir / "models" / "yunet_n_dynamic.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return Aligner(open_detector(path, min_score=FAINT_SCORE)), crops_of_faces(shared_dir, 8)


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [(240, 240, 1), (500, 400, 0.6), (600, 600, 2), (1600, 1200, 1), (1600, 1200, 5)],
)
def test_pasted_faces_come_back_as_they_were(real, width, height, scale):
    """A crop is turned and scaled into a photo by Pillow; what is found there must be that crop again.

    The distance is of the template's points through the photo and back, in pixels of the crop; it holds the difference
    between our detector's points and those that the crops were aligned by, about 3 pixels without any photo between.
    """
    aligner, crops = real
    distances, differences = [], []
    rng = np.random.default_rng(width)
    for crop in crops:
        place = (width / 2 + rng.uniform(-9, 9), height / 2 + rng.uniform(-9, 9), scale, rng.uniform(-25, 25))
        found = aligner.face_of(paste(wall(width, height), crop, *place))
        assert isinstance(found, Aligned)
        back_23 = similarity(found.face.points_52, TEMPLATE_52) @ np.vstack([to_photo(*place), [0, 0, 1]])
        moved_52 = TEMPLATE_52 @ back_23[:, :2].T + back_23[:, 2]
        distances.append(np.linalg.norm(moved_52 - TEMPLATE_52, axis=1).mean())
        middle = np.s_[24:96, 24:88]
        differences.append(np.abs(found.crop_SSC[middle].astype(int) - crop[middle]).mean())
    assert np.mean(distances) < 4
    assert np.max(distances) < 7
    assert np.mean(differences) < 18
