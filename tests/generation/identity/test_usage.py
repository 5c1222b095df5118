"""The ways of use that users were promised, as they are written down, with small networks and a small pack."""

import numpy as np
import pytest
import torch

from recognition.errors import InputError
from recognition.export.onnx_file import export_onnx
from recognition.faces.alignment import TEMPLATE_52
from tests.faces.small_models import SIDE, write_scrfd
from tests.generation.identity.drawn_faces import weights_file
from tests.generation.identity.small_vae import latents_of, small_vae
from tests.settled import faces, settled_backbone


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where InsightFace keeps its packs: a detector that finds one face in every picture of 64 pixels, a recogniser."""
    root = tmp_path_factory.mktemp("insightface")
    pack = root / "models" / "buffalo_l"
    pack.mkdir(parents=True)
    # Row 20 of stride 16 is the first anchor of the cell at (32, 32); the box goes from 8 to 56.
    points = (TEMPLATE_52 / 112 * 48 - 24) / 16
    write_scrfd(pack / "det_10g.onnx", {(16, 20): (0.9, (1.5,) * 4, points.ravel().astype(np.float32))})
    export_onnx(settled_backbone("r_tiny", seed=1), pack / "w600k_r50.onnx", {"image_size": 112})
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return weights_file(tmp_path_factory.mktemp("weights"))


def pictures(count, first=0):
    return torch.from_numpy(faces(size=SIDE)[first : first + count]).permute(0, 3, 1, 2) / 255


def test_the_wrapper_in_a_training_loop(root, weights):
    from generation import DifferentiableFaceLossWrapper

    vae = small_vae()
    model = torch.nn.Conv2d(4, 4, 3, padding=1)
    batch = {"ref_images": pictures(2)}

    face_loss_wrapper = DifferentiableFaceLossWrapper(
        vae=vae,
        arcface_weights_path=weights,
        model_name="r_tiny",
        device="cpu",
        root=root,
    )

    def training_step(batch):
        ref_images = batch["ref_images"]
        gen_latents = model(latents_of(vae, side=SIDE // 4))
        face_loss = face_loss_wrapper(ref_images, gen_latents)
        mse_loss = gen_latents.square().mean()
        total_loss = mse_loss + 0.1 * face_loss
        total_loss.backward()
        return face_loss

    assert 0 < training_step(batch) <= 2
    assert model.weight.grad.abs().max() > 0


def test_the_loss_of_pictures(root, weights):
    from generation import DifferentiableFaceLoss

    ref_images, gen_images = pictures(2), pictures(2, first=2).requires_grad_()

    face_loss = DifferentiableFaceLoss(
        model_name="r_tiny",
        pretrained_path=weights,
        device="cpu",
        root=root,
    )

    loss = face_loss(
        ref_images=ref_images,
        gen_images=gen_images,
    )
    loss.backward()
    assert gen_images.grad.flatten(1).norm(dim=1).min() > 0


def test_a_pack_is_known_by_its_files_too(root):
    from generation import ArcFaceLoss

    pack = root / "models" / "buffalo_l"
    renamed = pack.rename(root / "models" / "mine")
    try:
        assert ArcFaceLoss(renamed)(pictures(2), pictures(2)) < 1e-6
        with pytest.raises(InputError, match=r"w600k_r50.onnx of buffalo_l \(recognition\) is not there"):
            ArcFaceLoss("buffalo_l", root)
    finally:
        renamed.rename(pack)


def test_evaluation(root, capsys):
    from generation import ArcFaceLoss

    ref_images, gen_images = pictures(2), pictures(2)

    arcface = ArcFaceLoss(
        model_name="buffalo_l",
        root=root,
    )

    with torch.no_grad():
        loss = arcface(ref_images, gen_images)
        print(f"Face similarity: {1 - loss.item():.3f}")
    assert capsys.readouterr().out == "Face similarity: 1.000\n"
