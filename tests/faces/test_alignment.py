"""Points -> crop, against a brute-force least-squares fit, SciPy's interpolation, and OpenCV where it is installed."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from recognition.errors import InputError
from recognition.faces.alignment import TEMPLATE_52, align, averaged, similarity, template_points, warp

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (90, 130, 3), np.uint8)


def matrix(angle_deg: float, scale: float, x: float, y: float) -> np.ndarray:
    """Rotation by that angle, scaling and shift, (2, 3), written out as in a textbook."""
    c, s = scale * np.cos(np.radians(angle_deg)), scale * np.sin(np.radians(angle_deg))
    return np.array([[c, -s, x], [s, c, y]])


def moved(points_N2: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    return points_N2 @ matrix_23[:, :2].T + matrix_23[:, 2]


def least_squares(source_N2: np.ndarray, target_N2: np.ndarray) -> np.ndarray:
    """The similarity x' = a x - b y + c, y' = b x + a y + d that fits best, from its 2N linear equations."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source_N2, target_N2):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        values += [u, v]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


def bilinear(picture_HWC: np.ndarray, matrix_23: np.ndarray, size: int) -> np.ndarray:
    """The crop by SciPy, float, with black around the picture."""
    inverse = np.linalg.inv(np.vstack([matrix_23, [0, 0, 1]]))
    y, x = np.mgrid[:size, :size]
    px, py, _ = np.tensordot(inverse, np.stack([x, y, np.ones_like(x)]), 1)
    planes = np.moveaxis(picture_HWC.astype(float), 2, 0)
    return np.stack([map_coordinates(plane, [py, px], order=1, mode="grid-constant") for plane in planes], 2)


# --- similarity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle_deg", [0, 37, -90, 180])
@pytest.mark.parametrize("scale", [0.05, 1, 7])
def test_a_similarity_that_is_there_is_found(angle_deg, scale):
    expected = matrix(angle_deg, scale, -300, 41)
    np.testing.assert_allclose(similarity(TEMPLATE_52, moved(TEMPLATE_52, expected)), expected, atol=1e-10)


def test_points_that_fit_no_similarity_get_the_least_squares_one():
    for _ in range(50):
        source_52, target_52 = RNG.normal(50, 30, (2, 5, 2))
        np.testing.assert_allclose(similarity(source_52, target_52), least_squares(source_52, target_52), atol=1e-9)


def test_a_mirrored_face_is_not_mirrored_back():
    found = similarity(TEMPLATE_52 * (-1, 1), TEMPLATE_52)
    assert np.linalg.det(found[:, :2]) > 0
    np.testing.assert_allclose(found, least_squares(TEMPLATE_52 * (-1, 1), TEMPLATE_52), atol=1e-10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("points", [np.full((5, 2), 3.0), np.full((5, 2), np.nan)], ids=["one spot", "nan"])
def test_points_without_a_pose_are_refused(points):
    with pytest.raises(InputError, match="no pose"):
        similarity(points, TEMPLATE_52)


def test_template_grows_with_the_crop():
    np.testing.assert_array_equal(template_points(112), TEMPLATE_52)
    np.testing.assert_allclose(template_points(224), 2 * TEMPLATE_52)


# --- warp -------------------------------------------------------------------------------------------------------------


def test_whole_pixels_are_moved_as_they_are():
    shifted = warp(NOISE, matrix(0, 1, -20, 10), 64)
    np.testing.assert_array_equal(shifted[10:], NOISE[:54, 20:84])
    assert not shifted[:10].any()
    turned = warp(NOISE, matrix(90, 1, 89, 0), 90)  # (x, y) -> (89 - y, x)
    np.testing.assert_array_equal(turned, np.rot90(NOISE, -1)[:90])


@pytest.mark.parametrize(
    "matrix_23",
    [matrix(20, 0.9, 3, -8), matrix(-140, 1.7, 100, 130), matrix(0, 2.5, 0.3, 0.7), matrix(8, 0.4, 20.5, 20.5)],
    ids=["turned", "upside down", "larger", "all of it"],
)
class TestSamples:
    def test_equal_scipys(self, matrix_23):
        expected = bilinear(NOISE, matrix_23, 100)
        assert (np.abs(warp(NOISE, matrix_23, 100) - expected) <= 0.5 + 1e-9).all()

    def test_equal_opencvs(self, matrix_23):
        cv2 = pytest.importorskip("cv2", reason="opencv-python-headless (extra: test) is not installed")
        expected = cv2.warpAffine(NOISE, matrix_23, (100, 100)).astype(int)
        difference = np.abs(warp(NOISE, matrix_23, 100) - expected)
        assert difference.max() <= 1  # it computes in float32: a value between two numbers may round to the other one
        assert difference.mean() < 0.01


def test_a_face_lands_on_the_template():
    """Crosses at five points of a turned face lie on the template's points in the crop, black beyond the picture."""
    face = matrix(25, 1.3, 40, -10)
    points_52 = moved(TEMPLATE_52, face)
    y, x = np.mgrid[:200, :200]
    spots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in points_52)
    crop = align(np.repeat((200 * spots[..., None]).astype(np.uint8), 3, 2), points_52)[..., 0].astype(float)
    v, u = np.mgrid[:112, :112]
    for px, py in TEMPLATE_52:
        near = crop * ((u - px) ** 2 + (v - py) ** 2 < 49)
        assert np.hypot((near * u).sum() / near.sum() - px, (near * v).sum() / near.sum() - py) < 0.1


# --- antialias --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 2])
def test_fine_texture_of_a_large_face_becomes_its_mean(side):
    """A face four times as large as the crop, of chequers of that many pixels."""
    y, x = np.mgrid[:800, :800] // side
    chequers = np.repeat(((x + y) % 2 * 254)[..., None], 3, 2).astype(np.uint8)
    points_52 = moved(TEMPLATE_52, matrix(10, 4, 150, 150))
    assert (align(chequers, points_52) == 127).all()
    plain = align(chequers, points_52, antialias=False)
    assert plain.std() > 30
    np.testing.assert_array_equal(plain, warp(chequers, similarity(points_52, TEMPLATE_52), 112))


@pytest.mark.parametrize(("scale", "same"), [(0.51, True), (0.5, False)])
def test_only_pictures_twice_as_fine_are_averaged(scale, same):
    picture = RNG.integers(0, 256, (300, 300, 3), np.uint8)
    points_52 = moved(TEMPLATE_52, matrix(0, 1 / scale, 20, 20))
    assert np.array_equal(align(picture, points_52), align(picture, points_52, antialias=False)) == same


@pytest.mark.parametrize("block", [2, 3, 7])
@pytest.mark.parametrize("shift", [(30, 20), (-60, -40), (400, 300)], ids=["within", "upper left", "lower right"])
def test_averaged_crops_equal_those_of_the_whole_picture_averaged(block, shift):
    """The oracle averages all of the picture (filled up with black), and samples it by SciPy."""
    picture = RNG.integers(0, 256, (373, 481, 3), np.uint8)
    to_crop = np.linalg.inv(np.vstack([matrix(15, block + 0.3, *shift), [0, 0, 1]]))[:2]
    filled = np.pad(picture, [(0, -373 % block), (0, -481 % block), (0, 0)]).astype(float)
    rows, columns = filled.shape[0] // block, filled.shape[1] // block
    means = np.zeros((rows, columns, 3))
    for row in range(block):
        for column in range(block):
            means += filled[row::block, column::block] / block**2
    centers = matrix(0, block, (block - 1) / 2, (block - 1) / 2)
    expected = bilinear(means, to_crop @ np.vstack([centers, [0, 0, 1]]), 40)
    found = warp(*averaged(picture, to_crop, block=block, size=40), 40)
    assert (np.abs(found - expected) <= 0.5 + 1e-3).all()  # means are float32
    assert expected.any()
