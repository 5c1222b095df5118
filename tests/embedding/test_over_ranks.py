"""Embedding over ranks: any world gives the numbers of one process, flip-summed, and the module's modes come back."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from recognition.backbones import build_backbone
from recognition.embedding.over_ranks import embed_images
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.ranks import run_ranks
from tests.verification.synthetic import fill


def pictures(count: int, size: int = 112) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


class SmallNet(nn.Module):
    """Convolution, BatchNorm and dropout: wrong modes and wrong pixels both show."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(4 * 7 * 7, 5)
        fill(self)

    def forward(self, x_BCHW):
        return self.out(self.drop(self.norm(self.conv(x_BCHW)).flatten(1)))


def by_hand(images):
    """Each picture alone, in float64, with its mirror image."""
    net = SmallNet().double().eval()
    rows, lengths = [], []
    with torch.no_grad():
        for image in images:
            x = (torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None] - 127.5) / 127.5
            views = [net(x), net(torch.from_numpy(x.numpy()[..., ::-1].copy()))]
            rows.append(sum(views)[0].numpy())
            lengths += [float(view.norm()) for view in views]
    return np.stack(rows), np.mean(lengths)


def test_flip_sum_and_mean_length_equal_each_picture_by_itself():
    images = pictures(11, 16)
    found = embed_images(SmallNet(), images, runtime=Runtime(), batch_size=4)
    expected, xnorm = by_hand(images)
    assert found.emb_ND.dtype == np.float32
    np.testing.assert_allclose(found.emb_ND, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert found.xnorm == pytest.approx(xnorm, rel=1e-6)


def embed_on_rank(runtime, count, batch_size):
    found = embed_images(SmallNet(), pictures(count, 16), runtime=runtime, batch_size=batch_size)
    return found.emb_ND, found.xnorm


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (4, 4), (13, 4), (24, 4), (25, 2)])
def test_every_rank_has_the_result_of_one_process(world, count, batch_size):
    expected, xnorm = embed_on_rank(Runtime(), count, batch_size)
    assert expected.shape == (count, 5)
    for emb_ND, rank_xnorm in run_ranks(embed_on_rank, world, count, batch_size):
        np.testing.assert_array_equal(emb_ND, expected)  # the same batches are formed, so not even a bit differs
        assert rank_xnorm == xnorm


def test_every_rank_works_on_its_share_only():
    calls = run_ranks(count_calls, 2)
    assert calls == [6, 4]  # 10 pictures in batches of 2: 3 and 2 batches, two views each


def embed_slowly(runtime):
    """The last rank takes longer than three timeouts over its share."""
    net = SmallNet()

    def embed(x_BCHW):
        if runtime.rank == runtime.world - 1:
            time.sleep(0.9)
        return net(x_BCHW)

    net.eval()
    return embed_images(embed, pictures(12, 16), runtime=runtime, batch_size=2, title="lfw").emb_ND


@pytest.mark.parametrize("world", [2, 3])
def test_an_evaluation_longer_than_three_timeouts_of_collectives_gives_the_result_of_one_process(world):
    expected = embed_images(SmallNet(), pictures(12, 16), runtime=Runtime(), batch_size=2).emb_ND
    for emb_ND in run_ranks(embed_slowly, world, collective_timeout_s=1.0):
        np.testing.assert_array_equal(emb_ND, expected)


def count_calls(runtime):
    seen = []

    def embed(x_BCHW):
        seen.append(len(x_BCHW))
        return x_BCHW.flatten(1)[:, :3]

    embed_images(embed, pictures(10, 8), runtime=runtime, batch_size=2)
    return len(seen)


def test_modes_come_back_part_by_part_also_after_an_error():
    net = SmallNet().train()
    net.norm.eval()  # a frozen part
    embed_images(net, pictures(2, 16), runtime=Runtime())
    assert (net.training, net.norm.training, net.drop.training) == (True, False, True)
    with pytest.raises(RuntimeError):
        embed_images(net, pictures(2, 8), runtime=Runtime())
    assert (net.training, net.norm.training, net.drop.training) == (True, False, True)


def test_statistics_and_gradients_are_left_alone():
    net = SmallNet().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    embed_images(net, pictures(4, 16), runtime=Runtime())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_real_backbones_go_through():
    found = embed_images(build_backbone("mbf_tiny", 32), pictures(3), runtime=Runtime(), batch_size=2)
    assert found.emb_ND.shape == (3, 32)
    assert np.isfinite(found.emb_ND).all()


@pytest.mark.parametrize(
    "images", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 3, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32)]
)
def test_what_is_no_batch_of_pictures_is_refused(images):
    with pytest.raises(InputError, match="expected uint8|no pictures"):
        embed_images(SmallNet(), images, runtime=Runtime())
