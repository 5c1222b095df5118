"""Photos of people with a real detector: found, aligned, and with the gradient where the face is."""

import numpy as np
import pytest
import torch

from generation.detection import DetectorFinder
from generation.identity.face_loss import DifferentiableFaceLoss
from generation.identity.gate import NO_FACE
from recognition.faces.opening import open_detector
from tests.faces.pasted import crops_of_faces, paste, to_photo, wall
from tests.generation.identity.drawn_faces import weights_file

SIDE = 256
PLACES = [(128, 120, 1.0, 0.0), (120, 130, 1.2, 12.0), (135, 128, 0.9, -15.0)]  # x, y, scale, degrees


@pytest.fixture(scope="module")
def detector(shared_dir):
    path = shared_dir / "models" / "scrfd_500m_bnkps.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return DetectorFinder(open_detector(path))


def photos(crops):
    """Each crop on a wall at its place, img01 (B, 3, 256, 256)."""
    pictures = np.stack([paste(wall(SIDE, SIDE), crop, *place) for crop, place in zip(crops, PLACES)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="module")
def people(shared_dir):
    return crops_of_faces(shared_dir, 3)


def test_one_person_in_two_photos_is_nearer_than_two_people(detector, people, tmp_path_factory):
    """By points, the same face turned and scaled gives nearly the same crop; by boxes it does so less."""
    path = weights_file(tmp_path_factory.mktemp("weights"))
    distances = {}
    for mode in ("kps", "bbox"):
        loss = DifferentiableFaceLoss("r_tiny", path, "cpu", finder=detector, align_mode=mode)
        plain = photos([people[0]] * 3)[:1].expand(3, -1, -1, -1)
        _, same = loss(plain, photos([people[0]] * 3), return_details=True)
        _, other = loss(plain, photos([people[0], people[1], people[2]]), return_details=True)
        assert same.aligned == other.aligned == (mode,) * 3
        assert same.per_sample_B[0] < 1e-6
        distances[mode] = same.per_sample_B[1:], other.per_sample_B[1:]
    assert (distances["kps"][0] < distances["kps"][1]).all()
    assert distances["kps"][0].mean() < distances["bbox"][0].mean()


def test_the_gradient_lies_on_the_face(detector, people, tmp_path_factory):
    path = weights_file(tmp_path_factory.mktemp("weights"))
    loss = DifferentiableFaceLoss("r_tiny", path, "cpu", finder=detector, align_mode="kps")
    pictures = photos(people)
    pictures[2] = torch.from_numpy(wall(SIDE, SIDE).copy()).permute(2, 0, 1) / 255
    gen = pictures.requires_grad_()
    total, details = loss(pictures.detach()[[1, 0, 0]], gen, return_details=True)
    total.backward()
    assert details.why == ("", "", NO_FACE)
    strength_BHW = gen.grad.square().sum(1)
    assert strength_BHW[2].max() == 0
    y_HW, x_HW = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for strength_HW, place in zip(strength_BHW, PLACES[:2]):
        # Where the crop that was pasted lies, and a tenth of it more: the detector's points are not quite the set's.
        inverse = np.linalg.inv(np.vstack([to_photo(*place), [0, 0, 1]]))
        in_crop = (
            torch.from_numpy(inverse[:2]).float() @ torch.stack([x_HW, y_HW, torch.ones_like(x_HW)]).flatten(1).float()
        )
        inside_HW = ((in_crop > -11) & (in_crop < 122)).all(0).reshape(SIDE, SIDE)
        assert strength_HW[inside_HW].sum() > 0.99 * strength_HW.sum() > 0
