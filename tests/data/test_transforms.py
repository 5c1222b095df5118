"""Flip and normalisation against numpy."""

import numpy as np
import torch

from recognition.data.transforms import flip_mask, to_input


def images(batch=6, size=8):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, size, size + 1, 3), dtype=np.uint8))


def test_input_is_normalised_and_mirrored_as_numpy_does_it():
    images_BHWC = images()
    flip_B = torch.tensor([True, False, True, True, False, False])
    expected = (images_BHWC.numpy().astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    for b in range(6):
        if flip_B[b]:
            expected[b] = np.flip(expected[b], axis=1).copy()
    x_BCHW = to_input(images_BHWC, flip_B)
    assert x_BCHW.dtype == torch.float32
    np.testing.assert_array_equal(x_BCHW.numpy(), expected.transpose(0, 3, 1, 2))


def test_without_a_mask_nothing_is_mirrored():
    assert to_input(images()).equal(to_input(images(), torch.zeros(6, dtype=torch.bool)))


def test_range_and_memory_layout():
    assert to_input(torch.zeros(1, 2, 2, 3, dtype=torch.uint8)).unique().tolist() == [-1.0]
    assert to_input(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)).unique().tolist() == [1.0]
    assert to_input(images(2)).is_contiguous(memory_format=torch.channels_last)
    flip_B = torch.tensor([True, False])
    assert to_input(images(2), flip_B).is_contiguous(memory_format=torch.channels_last)


def test_to_input_leaves_the_batch_as_it_was():
    images_BHWC = images()
    before = images_BHWC.clone()
    to_input(images_BHWC, torch.ones(6, dtype=torch.bool))
    assert images_BHWC.equal(before)


def test_flip_is_a_fair_coin_of_seed_epoch_and_sample():
    ids_B = torch.arange(20_000)
    masks = [flip_mask(ids_B, torch.full_like(ids_B, epoch), seed) for seed in (0, 1) for epoch in range(4)]
    for i, mask in enumerate(masks):
        assert abs(mask.float().mean() - 0.5) < 4 * 0.5 / 20_000**0.5
        for other in masks[:i]:
            # Independent coins agree half of the time.
            assert abs((mask == other).float().mean() - 0.5) < 4 * 0.5 / 20_000**0.5


def test_flip_of_a_sample_does_not_depend_on_its_batch():
    generator = torch.Generator().manual_seed(0)
    ids_B = torch.randint(0, 42_000_000, (512,), generator=generator)
    epochs_B = torch.randint(0, 3, (512,), generator=generator)
    whole = flip_mask(ids_B, epochs_B, 2048)
    order = torch.randperm(512, generator=generator)
    parts = [flip_mask(ids_B[o], epochs_B[o], 2048) for o in order.split(100)]
    assert torch.cat(parts).equal(whole[order])


def test_flips_stay_what_they_were():
    ids_B = torch.arange(16)
    assert flip_mask(ids_B, ids_B // 8, 2048).int().tolist() == GOLDEN


GOLDEN = [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]
