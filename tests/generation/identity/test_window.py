"""Windows of a decode against the whole decode."""

import pytest
import torch

from generation.identity.latents import decode, recompute_blocks
from generation.identity.window import (
    Windows,
    decode_whole,
    decode_windows,
    halo_of,
    reach_of,
    scale_of,
    windows_of,
)
from recognition.errors import InputError
from tests.generation.identity.small_vae import latents_of, small_vae
from tests.planning.measured import measure

SIDE, SCALE = 32, 4


def window_and_whole(vae, latents, halo, first=(3, 5), last=(60, 70)):
    """Pixels `first` to `last` (x, y) of the whole decode, and of the windows around them."""
    boxes = torch.tensor([[*first, *last]] * len(latents), dtype=torch.float64)
    windows = windows_of(boxes, SIDE, SIDE, scale=SCALE, halo=halo)
    part = decode_windows(vae, decode_whole(vae, latents), windows)
    x, y = (windows.first_B2[0] * SCALE).tolist()
    cut = (..., slice(first[1], last[1] + 1), slice(first[0], last[0] + 1))
    cut_of_part = (..., slice(first[1] - y, last[1] + 1 - y), slice(first[0] - x, last[0] + 1 - x))
    assert part.shape[2] < SIDE * SCALE or part.shape[3] < SIDE * SCALE
    return part[cut_of_part], decode(vae, latents)[cut]


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("first", [(3, 5), (40, 52)])
def test_a_window_with_its_halo_shows_the_pixels_of_the_whole(attention, first):
    vae = small_vae(attention=attention)
    assert halo_of(vae) == 8
    with torch.no_grad():
        part, whole = window_and_whole(vae, latents_of(vae, side=SIDE), 8, first, (first[0] + 20, first[1] + 20))
    # Only the order of sums differs: convolutions pick other kernels for other sizes.
    assert (part - whole).abs().max() < 2e-5 * whole.abs().max()


def test_one_latent_pixel_less_of_halo_is_not_enough():
    """With all weights positive every pixel in reach counts, which shows that the halo is as small as it can be."""
    vae = small_vae(attention=False)
    with torch.no_grad():
        for conv in vae.decoder.modules():
            if isinstance(conv, torch.nn.Conv2d):
                conv.weight.abs_()
        latents = latents_of(vae, count=1, side=SIDE).double()
        for halo, exact in ((8, True), (7, False)):
            part, whole = window_and_whole(vae.double(), latents, halo, (60, 60), (64, 64))
            assert ((part - whole).abs().max() < 1e-12 * whole.abs().max()) == exact, halo


def test_the_whole_picture_on_the_way_is_the_decode():
    vae = small_vae()
    latents = latents_of(vae, side=SIDE)
    found = decode_whole(vae, latents)
    assert torch.equal(found.img01_BCHW, decode(vae, latents).detach())
    assert not found.img01_BCHW.requires_grad


def test_scale_of_a_latent_pixel():
    assert scale_of(small_vae()) == SCALE


@pytest.mark.parametrize("attention", [False, True])
def test_the_gradient_is_the_whole_one_but_for_pixels_outside(attention):
    """Measured against autograd through the whole decode, on VAEs as they are initialised."""
    vae = small_vae(attention=attention).requires_grad_(False)
    draw = torch.Generator().manual_seed(5)
    wanted = torch.randn(2, 3 * 66 * 58, generator=draw)
    grads = []
    for place in (0, 1):
        latents = latents_of(vae, side=SIDE).requires_grad_()
        picture = window_and_whole(vae, latents, halo_of(vae))[place].flatten(1)
        torch.cosine_similarity(picture, wanted).sum().backward()
        grads.append(latents.grad.flatten())
    assert torch.cosine_similarity(*grads, dim=0) > 0.998
    assert 0.99 < grads[0].norm() / grads[1].norm() < 1.01


def test_a_window_of_all_has_the_whole_gradient():
    """The statistics' own part of it included, which decides the gradient of a sum of squares."""
    vae = small_vae().requires_grad_(False).double()
    everything = Windows(torch.zeros(2, 2, dtype=torch.int64), height=16, width=16)
    grads = []
    for whole in (True, False):
        latents = latents_of(vae, side=16).double().requires_grad_()
        picture = decode(vae, latents) if whole else decode_windows(vae, decode_whole(vae, latents), everything)
        picture.square().sum().backward()
        grads.append(latents.grad)
    assert torch.allclose(*grads, rtol=1e-9, atol=1e-9 * grads[0].abs().max())


def test_recomputed_windows_are_the_same_and_all_hooks_are_gone():
    vae = small_vae().requires_grad_(False)

    def run():
        latents = latents_of(vae, side=SIDE).requires_grad_()
        window_and_whole(vae, latents, 2)[0].square().sum().backward()
        return latents.grad

    expected = run()
    recompute_blocks(vae)
    assert torch.equal(run(), expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in vae.modules())


def test_a_window_takes_less_memory_than_the_whole():
    vae = small_vae().requires_grad_(False)

    def run(decoded):
        latents = latents_of(vae, count=1, side=48).requires_grad_()
        decoded(latents).square().sum().backward()
        return latents.grad

    windows = Windows(torch.tensor([[15, 15]]), height=18, width=18)
    whole_memory, _ = measure(lambda: run(lambda latents: decode(vae, latents)))
    memory, _ = measure(lambda: run(lambda latents: decode_windows(vae, decode_whole(vae, latents), windows)))
    assert memory.peak_bytes < 0.5 * whole_memory.peak_bytes


def test_some_pictures_of_a_whole_are_these_pictures():
    vae = small_vae()
    whole = decode_whole(vae, latents_of(vae, count=3, side=SIDE))
    windows = Windows(torch.tensor([[0, 0], [4, 8], [8, 2]]), height=16, width=16)
    some = Windows(windows.first_B2[[2, 0]], height=16, width=16)
    found = decode_windows(vae, whole.some([2, 0]), some)
    assert torch.allclose(found, decode_windows(vae, whole, windows)[[2, 0]], atol=1e-5)


def test_windows_hold_their_boxes_and_are_as_small_as_possible():
    boxes = torch.tensor([[9.5, 0.0, 30.2, 17.0], [100.0, 80.0, 127.0, 127.0], [-20.0, 50.0, 4.0, 60.0]])
    windows = windows_of(boxes, SIDE, SIDE, scale=SCALE, halo=1)
    # By hand: latent pixels 2 to 7, 25 to 31 and 0 to 1 across, with the halo 1 to 8, 24 to 31 and 0 to 2; downwards 0
    # to 4, 20 to 31 and 12 to 15 become 0 to 5, 19 to 31 and 11 to 16. So 8 across and 13 downwards.
    assert (windows.width, windows.height) == (8, 13)
    assert windows.first_B2.tolist() == [[1, 0], [24, 19], [0, 11]]


def test_reach_of_a_crop_holds_all_pixels_that_bilinear_sampling_reads():
    size = 8
    angle = torch.tensor(0.4, dtype=torch.float64)
    for scale in (0.3, 1.0, 2.5):
        linear = scale * torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]], dtype=torch.float64)
        matrix = torch.cat([linear, torch.tensor([[3.0], [-2.0]])], 1)
        grid = torch.cartesian_prod(torch.arange(size), torch.arange(size)).double()
        places = torch.linalg.solve(linear, (grid - matrix[:, 2]).T).T
        x1, y1, x2, y2 = reach_of(matrix[None], size)[0].tolist()
        assert x1 <= places[:, 0].floor().min()
        assert x2 >= places[:, 0].floor().max() + 1
        assert y1 <= places[:, 1].floor().min()
        assert y2 >= places[:, 1].floor().max() + 1
        assert x2 - x1 < (places[:, 0].max() - places[:, 0].min()) + 6 * max(1, 1 / scale)


def test_another_kind_of_vae_is_named():
    with pytest.raises(InputError, match="Linear is not built as AutoencoderKL"):
        halo_of(torch.nn.Linear(2, 2))
