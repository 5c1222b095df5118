"""The face loss with real recognisers, on drawn faces: its numbers by another path, and a world of two ranks."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from torch import nn

from generation.detection import DetectorFinder
from generation.identity.face_loss import DifferentiableFaceLoss
from recognition.data.transforms import to_input
from recognition.faces.alignment import align
from tests.faces.red_faces import RedFaces
from tests.generation.identity.drawn_faces import Everywhere, face_of_portraits, portraits, weights_file
from tests.ranks import run_ranks
from tests.settled import settled_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


def opened(folder, network="r_tiny", **options):
    path = weights_file(folder, network)
    return DifferentiableFaceLoss(network, path, "cpu", **{"finder": Everywhere(), **options})


@pytest.mark.parametrize("align_mode", ["bbox", "kps"])
@pytest.mark.parametrize("layer_weights", [None, [0.1, 0.2, 0.3, 0.4, 1.0]])
def test_identical_pictures_have_no_loss(folder, align_mode, layer_weights):
    loss = opened(folder, align_mode=align_mode, layer_weights=layer_weights)
    pictures = portraits(0, 1, 2)
    assert loss(pictures, pictures) < 1e-5


@pytest.mark.parametrize("network", ["r_tiny", "mbf_tiny"])
def test_aligned_by_points_it_is_the_distance_of_recognition_itself(folder, network):
    """Through recognition's own aligning, input and network, and scipy's cosine."""
    ref, gen = portraits(0, 1, 2), portraits(1, 2, 2)
    gen[2] = 1 - gen[2]
    _, details = opened(folder, network, align_mode="kps")(ref, gen, return_details=True)
    points_52 = face_of_portraits().points_52.numpy()
    emb = []
    for pictures in (ref, gen):
        pixels = (pictures.permute(0, 2, 3, 1) * 255).round().byte().numpy()
        crops = np.stack([align(picture, points_52, antialias=False) for picture in pixels])
        with torch.no_grad():
            emb.append(settled_backbone(network)(to_input(torch.from_numpy(crops))).double().numpy())
    expected = [cosine(a, b) for a, b in zip(*emb)]
    assert max(expected[:2]) > 0.1
    # The points lie so that crops are whole pixels of the picture: no rounding to bytes on the other path.
    assert np.abs(details.per_sample_B.numpy() - expected).max() < 2e-5


def test_a_kept_reference_has_the_same_bits_whoever_came_with_it(folder):
    gen, at_first, resumed = portraits(1), opened(folder), opened(folder)
    at_first(portraits(0, 2, 3), portraits(1, 1, 1), ref_keys=["0", "2", "3"])
    assert at_first(portraits(3), gen, ref_keys=["3"]) == resumed(portraits(3), gen, ref_keys=["3"])


def test_layers_are_compared_by_their_means_and_weighted(folder):
    weights = [0.1, 0.2, 0.3, 0.4, 1.0]
    ref, gen = portraits(0, 1), portraits(1, 2)
    loss = opened(folder, layer_weights=weights)
    _, details = loss(ref, gen, return_details=True)
    alone = []
    for place in range(5):
        only = [float(place == other) for other in range(5)]
        alone.append(opened(folder, layer_weights=only)(ref, gen, return_details=True)[1].per_sample_B)
    expected = sum(weight * distance for weight, distance in zip(weights, alone)) / sum(weights)
    assert torch.allclose(details.per_sample_B, expected, atol=1e-6)
    assert torch.allclose(alone[4], opened(folder)(ref, gen, return_details=True)[1].per_sample_B, atol=1e-6)
    assert len({round(float(distance[0]), 6) for distance in alone}) == 5


def test_gradient_descent_on_the_pixels_brings_the_identity_nearer(folder):
    loss = opened(folder)
    ref, gen = portraits(0), portraits(1).requires_grad_()
    before = loss(ref, gen)
    for _ in range(5):
        (grad,) = torch.autograd.grad(loss(ref, gen), gen)
        gen = (gen - 2 / 255 * grad.sign()).detach().requires_grad_()
    assert loss(ref, gen) < 0.5 * before


def test_nothing_of_the_recogniser_changes_or_is_trained(folder):
    loss = opened(folder).train()
    network = loss.backbone.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert len(before) > 50
    loss(portraits(0, 1), portraits(1, 2).requires_grad_()).backward()
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_detector_that_sees_what_is_in_the_picture(folder):
    loss = opened(folder, finder=DetectorFinder(RedFaces()), align_mode="kps")
    ref = portraits(0, 1)
    for picture in ref:
        picture[:, 60:110, 50:100] = torch.tensor([1.0, 0.0, 0.8])[:, None, None]
    gen = torch.stack([ref[0] * 0.95, torch.full_like(ref[0], 0.3)]).requires_grad_()
    total, details = loss(ref, gen, return_details=True)
    total.backward()
    assert details.valid_B.tolist() == [True, False]
    assert gen.grad[0, :, 60:110, 50:100].abs().max() > 0
    assert gen.grad[1].abs().max() == 0


class Painter(nn.Module):
    """A picture with a trained colour on top: what stands for the generator."""

    def __init__(self):
        super().__init__()
        self.colour = nn.Parameter(torch.zeros(3, 1, 1))

    def forward(self, img01_BCHW):
        return img01_BCHW + self.colour


def gradient_of_rank(runtime, path, world):
    person = runtime.rank
    finder = Everywhere() if person == 0 else lambda img01_BCHW, keys=None: [None] * len(img01_BCHW)
    loss = DifferentiableFaceLoss("r_tiny", path, "cpu", finder=finder)
    painter = Painter()
    if world > 1:
        painter = nn.parallel.DistributedDataParallel(painter)
    loss(portraits(0), painter(portraits(1))).backward()
    return next(painter.parameters()).grad


def test_a_rank_without_a_face_keeps_step(folder):
    path = weights_file(folder)
    (alone,) = run_ranks(gradient_of_rank, 1, path, 1)
    both = run_ranks(gradient_of_rank, 2, path, 2, collective_timeout_s=20)
    assert alone.abs().max() > 0
    for grad in both:
        assert torch.allclose(grad, alone / 2)
