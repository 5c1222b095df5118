"""Crops against the recogniser's own alignment and against shifts done by hand; gradients."""

import numpy as np
import pytest
import torch

from generation.alignment import (
    MOST_SAMPLES,
    box_matrices,
    crop,
    mapped,
    similarity_matrices,
    square_boxes,
    template,
    uncrop,
    usable_points,
)
from recognition.faces.alignment import TEMPLATE_52, align, similarity, template_points
from tests.faces.test_alignment import least_squares


def faces(count, seed=0, spread=3.0):
    """Points of faces at random places, sizes and angles, float64 (N, 5, 2), in pictures of 200x220."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.6, 0.6, count), rng.uniform(0.7, 1.2, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(-1, 2, 2)
    points = (template_points() - 56) @ turn.transpose(0, 2, 1) * scale[:, None, None]
    return points + rng.uniform(80, 120, (count, 1, 2)) + rng.normal(0, spread, (count, 5, 2))


def test_similarity_is_the_one_of_the_recognisers_own_alignment():
    points = faces(20)
    found = similarity_matrices(torch.from_numpy(points), template())
    expected = np.stack([similarity(each, template_points()) for each in points])
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-5)
    assert found.dtype == torch.float32


@pytest.fixture
def turned_faces():
    """Pictures of noise (8, 200, 220, 3) with the points of a face in each; the first reaches beyond its picture."""
    points = faces(8, 1)
    points[0] += 60
    return np.random.default_rng(1).integers(0, 256, (8, 200, 220, 3), np.uint8), points


def levels(pictures, points):
    """Crops by the points, in levels of 255 (B, 112, 112, 3)."""
    img01 = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    found = crop(img01, similarity_matrices(torch.from_numpy(points), template()), 112, antialias=False)
    return found.permute(0, 2, 3, 1).numpy() * 255


def test_crops_are_those_of_the_recognisers_own_alignment(turned_faces):
    found = levels(*turned_faces)
    expected = np.stack([align(picture, five, antialias=False) for picture, five in zip(*turned_faces)])
    assert np.abs(found - expected).max() <= 0.51  # theirs are rounded to whole levels
    assert (found[0] == 0).any()


def test_crops_are_those_of_norm_crop(turned_faces):
    """InsightFace's norm_crop: the similarity of least squares, then warpAffine with black around the picture."""
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless (extra: test) is not installed")
    fits = [least_squares(five, TEMPLATE_52) for five in turned_faces[1]]
    expected = np.stack([cv2.warpAffine(each, fit, (112, 112)) for each, fit in zip(turned_faces[0], fits)])
    assert np.abs(levels(*turned_faces) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_box_of_whole_pixels_is_cut_out_as_it_is(dtype):
    img = torch.rand(2, 3, 40, 50, dtype=dtype)
    boxes = torch.tensor([[9.5, 4.5, 25.5, 20.5], [-0.5, -0.5, 15.5, 15.5]], dtype=dtype)
    found = crop(img, box_matrices(boxes, 16), 16)
    torch.testing.assert_close(found[0], img[0, :, 5:21, 10:26], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1], img[1, :, :16, :16], rtol=0, atol=1e-5)
    halved = crop(img, box_matrices(boxes, 8), 8)
    torch.testing.assert_close(halved[0], torch.nn.functional.avg_pool2d(img[0, :, 5:21, 10:26], 2), rtol=0, atol=1e-5)
    assert crop(img.bfloat16(), box_matrices(boxes, 8), 8).dtype == torch.float32


def test_squares_have_the_longer_side_and_a_margin():
    boxes = torch.tensor([[10.0, 20, 30, 60], [0, 0, 8, 4]])
    assert square_boxes(boxes, 1.5).tolist() == [[-10, 10, 50, 70], [-2, -4, 10, 8]]
    corners = torch.tensor([[[10.0, 20], [30, 60]]])
    assert mapped(box_matrices(torch.tensor([[10.0, 20, 30, 60]]), 8), corners).tolist() == [[[-0.5, -0.5], [7.5, 7.5]]]


def test_what_comes_of_a_picture_does_not_depend_on_the_others_in_its_batch():
    img = torch.rand(3, 3, 300, 300)
    boxes = torch.tensor([[0.0, 0, 300, 300], [50, 50, 90, 90], [20, 30, 220, 230]])
    together = crop(img, box_matrices(boxes, 32), 32)
    for row in range(3):
        alone = crop(img[row : row + 1], box_matrices(boxes[row : row + 1], 32), 32)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)


def test_every_pixel_of_a_large_face_has_a_say():
    img = torch.rand(1, 3, 240, 240, requires_grad=True)
    matrix = box_matrices(torch.tensor([[-0.5, -0.5, 239.5, 239.5]]), 40)
    for antialias, share in ((True, 1.0), (False, 0.12)):
        (grad,) = torch.autograd.grad(crop(img, matrix, 40, antialias=antialias).sum(), img)
        assert (grad != 0).float().mean().item() == pytest.approx(share, abs=0.01)
    assert MOST_SAMPLES >= 6


def test_gradients_of_crops_and_of_what_is_put_back():
    torch.manual_seed(0)
    img = torch.rand(2, 2, 9, 11, dtype=torch.float64, requires_grad=True)
    face = torch.rand(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    matrix = torch.tensor([[[0.7, 0.1, -1.3], [-0.1, 0.7, 0.4]], [[0.35, 0, 0.6], [0, 0.35, 0.2]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: crop(x, matrix, 5), img)
    assert torch.autograd.gradcheck(lambda x, y: uncrop(y, matrix, x), (img, face))


def test_what_is_put_back_is_the_face_inside_and_the_picture_outside():
    img = torch.rand(2, 3, 60, 60)
    boxes = torch.tensor([[9.5, 14.5, 41.5, 46.5], [4.5, 4.5, 36.5, 36.5]])
    matrix = box_matrices(boxes, 32)
    face = torch.rand(2, 3, 32, 32)
    found = uncrop(face, matrix, img)
    torch.testing.assert_close(found[0, :, 15:47, 10:42], face[0], rtol=0, atol=1e-5)
    outside = torch.ones(60, 60, dtype=torch.bool)
    outside[15:47, 10:42] = False
    assert torch.equal(found[0][:, outside], img[0][:, outside])
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:24, 8:24] = 0.25
    blended = uncrop(face, matrix, img, mask)
    expected = img[1, :, 5:37, 5:37].clone()
    expected[:, 8:24, 8:24] = 0.75 * expected[:, 8:24, 8:24] + 0.25 * face[1, :, 8:24, 8:24]
    torch.testing.assert_close(blended[1, :, 5:37, 5:37], expected, rtol=0, atol=1e-5)
    # There and back again with a face turned: smooth pictures lose little.
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 5), (200, 220), mode="bicubic")
    turned = similarity_matrices(torch.from_numpy(faces(1, 3)), template())
    back = uncrop(crop(smooth, turned, 112, antialias=False), turned, smooth)
    assert (back - smooth).abs().max() < 0.02


def test_points_of_faces_are_told_from_points_at_random():
    assert all(usable_points(torch.from_numpy(five)) for five in faces(50, 5))
    rng = np.random.default_rng(0)
    taken = sum(usable_points(torch.from_numpy(rng.uniform(0, 100, (5, 2)))) for _ in range(500))
    assert taken < 500 / 20
    assert not usable_points(torch.full((5, 2), 7.0))
    assert not usable_points(torch.full((5, 2), torch.nan))
    mirrored = template() * torch.tensor([-1.0, 1.0])
    assert not usable_points(mirrored)
