"""Face losses on latents: decoded where it counts, trained nowhere but in the latents, whole or round the face."""

import pytest
import torch

from generation.identity.face_loss import DifferentiableFaceLoss
from generation.identity.gate import NO_REFERENCE_FACE, OTHER_DATA_TYPE
from generation.identity.latents import decode, side_of
from generation.identity.wrappers import DifferentiableFaceLossWrapper, FaceLossWrapper
from recognition.errors import InputError
from tests.generation.identity.drawn_faces import Everywhere, portraits, weights_file
from tests.generation.identity.linear_faces import ByMark, LinearFaces, face
from tests.generation.identity.small_vae import latents_of, small_vae
from tests.planning.measured import measure

SIDE = 32  # of the latents: pictures of 128 pixels
FACE = face((40.0, 44.0, 90.0, 92.0))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return weights_file(tmp_path_factory.mktemp("weights"))


def wrapped(vae, weights, **options):
    options = {"finder": Everywhere(FACE), **options}
    return DifferentiableFaceLossWrapper(vae, weights, "r_tiny", "cpu", **options)


def references(count=2):
    return portraits(*range(count))


def gradient(loss, latents, *args, **options):
    latents = latents.clone().requires_grad_()
    value = loss(*args, latents, **options)
    value.backward()
    return value.detach(), latents.grad


class Decodes:
    """Counts the pictures that a VAE decodes."""

    def __init__(self, vae):
        self.counts = []
        vae.decoder.conv_in.register_forward_hook(lambda module, given, out: self.counts.append(len(out)))


def test_it_is_the_loss_of_the_decoded_pictures(weights):
    vae, latents = small_vae(), latents_of(small_vae(), side=SIDE)
    with torch.no_grad():
        vae.decoder.conv_out.weight.div_(8)  # no pixel beyond [0, 1]: nothing to clamp on this path
    plain = DifferentiableFaceLoss("r_tiny", weights, "cpu", finder=Everywhere(FACE))

    def by_hand(ref, given):
        sample = vae.decode(given / vae.config.scaling_factor + vae.config.shift_factor).sample
        assert sample.abs().max() < 1
        return plain(ref_images=ref, gen_images=sample / 2 + 0.5)

    expected, expected_grad = gradient(by_hand, latents, references())
    found, grad = gradient(wrapped(vae, weights), latents, references())
    assert found == expected > 0.01
    assert torch.equal(grad, expected_grad)


def test_the_gradient_reaches_nothing_but_the_latents(weights):
    vae = small_vae().train().requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    loss = wrapped(vae, weights)
    model = torch.nn.Linear(4, 4)
    latents = model(latents_of(vae, side=SIDE).movedim(1, -1)).movedim(-1, 1)
    network = loss.face_loss.backbone.network
    loss(references(), latents).backward()
    assert model.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in [*vae.parameters(), *network.parameters()])
    assert all(torch.equal(vae.state_dict()[name], tensor) for name, tensor in before.items())
    assert not vae.training
    assert not any("vae" in name for name, _ in loss.named_modules())


def test_only_samples_whose_face_counts_are_decoded(weights):
    vae = small_vae()
    loss = wrapped(vae, weights, finder=ByMark(FACE, None))
    decodes = Decodes(vae)
    ref = references(4)
    ref[:, :, 0, 0] = torch.tensor([0.0, 0.01, 0.0, 0.0])[:, None]
    # Nothing to mark in a decode: what is found there goes by the mark of its own upper left pixel.
    kinds = ["person_hair", "person", "person", "other"]
    latents = latents_of(vae, count=4, side=SIDE).requires_grad_()
    total, details = loss(ref, latents, kinds, return_details=True)
    assert decodes.counts == [1]
    assert details.why[:2] == (OTHER_DATA_TYPE, NO_REFERENCE_FACE)
    total, _ = loss(ref, latents, ["other"] * 4, return_details=True)
    total.backward()
    assert decodes.counts == [1]
    assert total == 0
    assert torch.equal(latents.grad, torch.zeros_like(latents))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("vae_window", [False, True])
def test_one_side_of_a_diptych(weights, side, vae_window):
    vae = small_vae()
    latents = torch.cat([latents_of(vae, side=SIDE, seed=seed) for seed in (1, 2)], 3)
    # Beyond the side on all four edges, the middle of the diptych among them.
    finder = Everywhere(face((-10.0, -5.0, 135.0, 140.0)))
    loss = wrapped(vae, weights, side=side, vae_window=vae_window, finder=finder)
    plain = DifferentiableFaceLoss("r_tiny", weights, "cpu", finder=finder)
    expected = plain(references(), side_of(decode(vae, latents), side).clamp(0, 1))
    assert torch.allclose(loss(references(), latents), expected, atol=2e-5)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("align_mode", ["bbox", "kps"])
def test_a_window_has_the_loss_and_nearly_the_gradient_of_the_whole(weights, attention, align_mode):
    vae = small_vae(attention=attention)
    latents = latents_of(vae, side=SIDE)
    found, grad = gradient(wrapped(vae, weights, vae_window=True, align_mode=align_mode), latents, references())
    expected, expected_grad = gradient(wrapped(vae, weights, align_mode=align_mode), latents, references())
    assert torch.allclose(found, expected, atol=2e-5)
    assert torch.cosine_similarity(grad.flatten(), expected_grad.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("box", [(40.0, 44.0, 90.0, 92.0), (-9.0, 60.0, 70.0, 139.0)])
def test_a_window_has_the_loss_of_the_whole_where_the_face_shrinks(box):
    """Crops of 16 pixels: a face of 60 becomes a quarter."""
    vae = small_vae()
    latents = latents_of(vae, side=SIDE)
    options = {"backbone": LinearFaces(), "finder": Everywhere(face(box)), "align_mode": "kps"}
    whole = DifferentiableFaceLossWrapper(vae, device="cpu", **options)
    windowed = DifferentiableFaceLossWrapper(vae, device="cpu", vae_window=True, **options)
    assert torch.allclose(windowed(references(), latents), whole(references(), latents), atol=2e-5)


def test_windows_and_recomputing_take_less_memory(weights):
    def peak(**options):
        vae = small_vae()
        loss = wrapped(vae, weights, **options)
        latents = latents_of(vae, count=1, side=48)
        return measure(lambda: gradient(loss, latents, references(1)))[0].peak_bytes

    whole = peak()
    assert peak(vae_checkpointing=True) < 0.8 * whole
    assert peak(vae_window=True) < 0.7 * whole
    assert peak(vae_window=True, vae_checkpointing=True) < 0.5 * whole


def test_a_halo_of_less_is_an_approximation(weights):
    vae, latents = small_vae(), latents_of(small_vae(), side=SIDE)
    exact, rough = (wrapped(vae, weights, vae_window=True, halo=halo)(references(), latents) for halo in (8, 0))
    assert torch.allclose(exact, wrapped(vae, weights)(references(), latents), atol=2e-5)
    assert not torch.allclose(exact, rough, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": "top"}, "side='top' is not known"),
        ({"halo": 3}, "halo=3 must be 0 or more latent pixels, and goes with vae_window"),
        ({"halo": -1, "vae_window": True}, "halo=-1"),
    ],
)
def test_options_that_make_no_sense(weights, options, message):
    with pytest.raises(InputError, match=message):
        wrapped(small_vae(), weights, **options)


def test_the_wrapper_for_evaluation_scores_the_prediction(weights):
    """Not the reference, nor the picture that the latents were to be."""
    vae = small_vae()
    scored = FaceLossWrapper(vae, weights, finder=Everywhere(FACE), align_mode="bbox")
    trained = wrapped(vae, weights)
    for seed in (1, 2):
        latents = latents_of(vae, side=SIDE, seed=seed).requires_grad_()
        value = scored(references(), latents)
        assert not value.requires_grad
        assert torch.allclose(value, trained(references(), latents).detach(), atol=1e-6)
    assert scored(references(), latents) != scored(references(), latents_of(vae, side=SIDE))
