"""The loss for evaluation, on ONNX Runtime, against the one that trains."""

import pytest
import torch
import torch.nn.functional as F

from generation.identity.evaluation import ArcFaceLoss
from generation.identity.face_loss import DifferentiableFaceLoss
from generation.identity.gate import NO_FACE
from recognition.export.onnx_file import export_onnx
from tests.generation.identity.drawn_faces import Everywhere, portraits, weights_file
from tests.generation.identity.linear_faces import ByMark, face
from tests.settled import settled_backbone


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    export_onnx(settled_backbone("r_tiny"), folder / "r_tiny.onnx", {"image_size": 112})
    return weights_file(folder), folder / "r_tiny.onnx"


@pytest.mark.parametrize("align_mode", ["bbox", "kps"])
def test_onnx_runtime_sees_what_the_training_loss_sees(models, align_mode):
    weights, onnx = models
    options = {"finder": Everywhere(), "align_mode": align_mode}
    trained = DifferentiableFaceLoss("r_tiny", weights, "cpu", **options)
    judged = ArcFaceLoss(onnx, **options)
    ref, gen = portraits(0, 1, 2), portraits(1, 2, 2)
    expected, of_trained = trained(ref, gen.requires_grad_(), return_details=True)
    found, of_judged = judged(ref, gen, return_details=True)
    assert expected.requires_grad
    assert not found.requires_grad
    assert torch.allclose(of_judged.per_sample_B, of_trained.per_sample_B, atol=1e-5)
    assert of_judged.per_sample_B[2] < 1e-6


def test_embeddings_of_torch_and_onnx_runtime_agree(models):
    weights, onnx = models
    crops = torch.rand(5, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    of_torch = DifferentiableFaceLoss("r_tiny", weights, "cpu", finder=Everywhere()).backbone(crops)
    of_onnx = ArcFaceLoss(onnx, finder=Everywhere()).embedder(crops * 2 - 1)
    assert F.cosine_similarity(of_torch, of_onnx).min() > 0.9999


def test_without_any_face_there_is_no_similarity_to_report(models):
    judged = ArcFaceLoss(models[1], finder=ByMark(face((20.0, 30.0, 131.0, 141.0)), None))
    gen = portraits(0, 0)
    ref = portraits(0, 0)
    ref[:, :, 0, 0], gen[:, :, 0, 0] = 0.0, torch.tensor([0.0, 0.01])[:, None]
    loss, details = judged(ref, gen, return_details=True)
    assert loss < 1e-6
    assert details.why == ("", NO_FACE)
    assert judged(ref[1:], gen[1:]).isnan()


def test_references_are_kept_by_their_keys(models):
    finder = Everywhere()
    judged = ArcFaceLoss(models[1], finder=finder)
    for seed in (1, 2):
        judged(portraits(0, 1), portraits(seed, seed), ref_keys=["a", "b"])
    assert finder.calls == [2, 2, 2]
