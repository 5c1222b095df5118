"""Alignment by the mean face: numbers against brute force and drawn faces, verdicts on faces that were moved."""

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from recognition.data.decode import decode_into
from recognition.data.recordio import RecordReader
from recognition.records.mean_face import Alignment, MeanFace, face_view
from recognition.spread import spread

POINTS = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
MIDDLE = (56.0, 71.9)


def drawn_face(seed: int, *, right: float = 0, down: float = 0, scale: float = 1) -> np.ndarray:
    """A head of ellipses with dark eyes, nostrils and a mouth at the template's points, and grain of its own."""
    picture = Image.new("L", (112, 112), 150)
    draw = ImageDraw.Draw(picture)

    def ellipse(x: float, y: float, width: float, height: float, grey: int) -> None:
        x, y = ((at - middle) * scale + middle for at, middle in ((x, MIDDLE[0]), (y, MIDDLE[1])))
        x, y, width, height = x + right, y + down, width * scale, height * scale
        draw.ellipse((x - width, y - height, x + width, y + height), fill=grey)

    for x, y in POINTS[:2]:
        ellipse(x, y, 8, 5, 60)
    ellipse(56, 76, 8, 3, 110)
    ellipse(56, 92, 15, 4, 70)
    grain = np.random.default_rng(seed).normal(0, 25, (112, 112, 1))
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(1)), np.float64)[..., None]
    return np.clip(pixels + grain, 0, 255).astype(np.uint8).repeat(3, 2)


def aligned(pictures) -> Alignment:
    mean = MeanFace()
    for picture in pictures:
        mean.add(face_view(picture))
    return mean.alignment()


def test_agreement_is_the_mean_correlation_of_all_pairs():
    pictures = [drawn_face(seed, right=seed % 3) for seed in range(12)]
    details = np.stack([face_view(picture).details[30:104, 22:90].ravel() for picture in pictures])
    correlations = np.corrcoef(details.astype(np.float64))
    expected = correlations[~np.eye(12, dtype=bool)].mean()
    assert 0.1 < expected < 0.9
    assert aligned(pictures).agreement == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("right", "down", "scale"), [(0, 0, 1), (6, 0, 1), (0, -11, 1), (-9, 7, 1), (0, 0, 0.7), (3, 5, 1.26)]
)
def test_a_face_is_found_where_it_was_drawn(right, down, scale):
    found = aligned(drawn_face(seed, right=right, down=down, scale=scale) for seed in range(60))
    assert found.fit > 0.6
    assert found.right * 112 == pytest.approx(right, abs=1.5)
    assert found.down * 112 == pytest.approx(down, abs=1.5)
    assert found.scale == pytest.approx(scale, abs=0.03)
    assert (found.faults == []) == ((right, down, scale) == (0, 0, 1))


def test_verdicts_in_words():
    def verdict(**what) -> str:
        found = {"pictures": 60, "agreement": 0.2, "fit": 0.6, "right": 0.0, "down": 0.0, "scale": 1.0} | what
        return Alignment(**found).verdict

    assert verdict() == "looks aligned to ArcFace's template (agreement 0.20, fit 0.60)"
    assert "eyes and mouths do not lie on each other (agreement 0.09 < 0.1)" in verdict(agreement=0.09)
    assert "the mean picture shows no face (fit 0.39 < 0.4)" in verdict(fit=0.39)
    assert verdict(down=-0.2, right=0.05, scale=0.8).endswith(
        "the faces lie 5% of the picture too far right; the faces lie 20% of the picture too far up; "
        "the faces have 0.80 times the size"
    )
    assert verdict(pictures=49, agreement=0) == "too few pictures to tell whether they are aligned (49 < 50)"


def test_noise_and_blank_pictures_do_not_look_aligned():
    rng = np.random.default_rng(0)
    noise = aligned(rng.integers(0, 256, (112, 112, 3), np.uint8) for _ in range(100))
    assert abs(noise.agreement) < 0.01
    assert not noise.verdict.startswith("looks aligned")
    blank = aligned(np.full((112, 112, 3), seed, np.uint8) for seed in range(60))
    assert not blank.verdict.startswith("looks aligned")
    assert aligned([]).verdict.startswith("too few pictures")


def test_pictures_of_any_size_count_the_same():
    small = drawn_face(0)
    large = np.asarray(Image.fromarray(small).resize((336, 336), Image.Resampling.BICUBIC))
    assert np.corrcoef(face_view(small).details.ravel(), face_view(large).details.ravel())[0, 1] > 0.9
    assert face_view(large).colours.shape == (112, 112, 3)


def test_the_picture_is_the_mean_with_rings_at_the_five_points():
    pictures = [np.full((112, 112, 3), grey, np.uint8) for grey in (100, 120)]
    mean = MeanFace()
    for picture in pictures:
        mean.add(face_view(picture))
    assert (mean.colours() == 110).all()
    marked = mean.marked()
    plain = Image.new("RGB", marked.size, (110, 110, 110))
    changed = np.argwhere(np.asarray(ImageChops.difference(marked, plain)).any(2))[:, ::-1]
    distances = np.linalg.norm(changed[:, None] - (np.array(POINTS) + 0.5) * 4, axis=2)
    assert set(distances.argmin(1)) == set(range(5))
    assert distances.min(1).max() < 14


def moved(pixels: np.ndarray, rng: np.random.Generator, *, pixels_off: float, degrees: float, share: float):
    """The picture moved, turned and resized at random by up to so much."""
    angle, factor = np.deg2rad(rng.uniform(-degrees, degrees)), np.exp(rng.uniform(-share, share))
    cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
    x, y = 56 + rng.uniform(-pixels_off, pixels_off, 2)
    back = (cos, -sin, 56 - cos * x + sin * y, sin, cos, 56 - sin * x - cos * y)
    return np.asarray(Image.fromarray(pixels).transform((112, 112), Image.Transform.AFFINE, back, 2))


def test_real_faces_look_aligned_until_they_are_moved(shared_dir):
    rng = np.random.default_rng(0)
    with RecordReader(shared_dir / "data" / "lfw" / "train" / "train.rec") as reader:
        pictures = np.empty((300, 112, 112, 3), np.uint8)
        for picture, key in zip(pictures, reader.image_keys[spread(len(reader.image_keys), 300)]):
            decode_into(picture, reader.read(key).payload, str)
    assert aligned(pictures).faults == []
    little = aligned(moved(picture, rng, pixels_off=2, degrees=3, share=0.03) for picture in pictures)
    assert little.faults == []
    much = aligned(moved(picture, rng, pixels_off=10, degrees=15, share=0.15) for picture in pictures)
    assert "eyes and mouths do not lie on each other" in much.verdict
    down = aligned(np.roll(picture, 8, 0) for picture in pictures)
    assert "7% of the picture too far down" in down.verdict
