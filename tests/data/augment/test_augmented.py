"""What becomes of a picture depends on seed, epoch, sample and kind alone; and the host never waits for the device."""

import numpy as np
import pytest
import torch

from recognition.benchmarks.counting import Counts
from recognition.data.augment import ARCFACE_TORCH, KINDS, augmented, parse_augment
from recognition.data.augment.draws import Draws
from tests.data.augment.pictures import SEED, faces, noise

EVERY_KIND = [f"{name}:0.5" for name in KINDS]
COUNT, SIZE = 64, 24
IDS = torch.randperm(10_000_000, generator=torch.Generator().manual_seed(0))[:COUNT]
EPOCHS = torch.arange(COUNT) // 40


def result(texts=EVERY_KIND, places=slice(None), *, pictures=None, epochs=EPOCHS, seed=SEED):
    images_BHWC = torch.from_numpy(noise(COUNT, SIZE) if pictures is None else pictures)
    return augmented(images_BHWC[places], IDS[places], epochs[places], parse_augment(texts), seed=seed)


def test_nothing_asked_for_is_the_very_batch():
    images_BHWC = torch.from_numpy(noise(4))
    assert augmented(images_BHWC, IDS[:4], EPOCHS[:4], (), seed=0) is images_BHWC


def test_the_batch_that_came_is_left_as_it_was():
    images_BHWC = torch.from_numpy(noise(COUNT, SIZE))
    found = augmented(images_BHWC, IDS, EPOCHS, parse_augment(EVERY_KIND), seed=SEED)
    np.testing.assert_array_equal(images_BHWC.numpy(), noise(COUNT, SIZE))
    assert found.dtype == torch.uint8
    assert found.shape == images_BHWC.shape
    assert found.is_contiguous()


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_changes_what_it_chooses_and_only_that(name):
    differs = (result([f"{name}:0.5"]).numpy() != noise(COUNT, SIZE)).any((1, 2, 3))
    chosen = Draws.of(IDS, EPOCHS, seed=SEED, purpose=name).between(0, 1).numpy() < 0.5
    np.testing.assert_array_equal(differs, chosen)
    assert 0.25 < chosen.mean() < 0.75


@pytest.mark.parametrize("texts", [EVERY_KIND, ["erase:1", "blur:1", "hsv:1"], ARCFACE_TORCH])
@pytest.mark.parametrize("parts", [1, 7, 32])
def test_a_picture_does_not_depend_on_its_batch_or_place_in_it(texts, parts):
    whole = result(texts)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(parts))
    found = torch.cat([result(texts, places) for places in order.split(parts)])
    assert torch.equal(found, whole[order])


@pytest.mark.parametrize("size", [16, 31, 112])
def test_threads_change_no_bit(size):
    pictures = faces(COUNT, size)
    alone = result(pictures=pictures)
    torch.set_num_threads(3)
    assert torch.equal(result(pictures=pictures), alone)
    assert not np.array_equal(alone.numpy(), pictures)


def test_another_epoch_or_seed_makes_another_picture():
    one = [f"{name}:1" for name in ("crop", "hsv")]
    first = result(one)
    for other in (result(one, epochs=EPOCHS + 2), result(one, seed=SEED + 1)):
        assert (first != other).flatten(1).any(1).all()
    assert torch.equal(first, result(one))


def test_kinds_come_in_their_order_whatever_the_order_in_the_config():
    assert torch.equal(result(EVERY_KIND[::-1]), result())
    assert [kind.name for kind in parse_augment(EVERY_KIND[::-1])] == [
        *("resize", "blur", "hsv", "grey"),  # as arcface_torch
        *("crop", "erase", "lowres", "mask"),
    ]
    # Grey after colours, noise after blur: erase leaves colours in what grey has made.
    both = result(["grey:1", "erase:1"])
    assert (both != both[..., :1]).any()
    by_hand = torch.from_numpy(noise(COUNT, SIZE))
    for text in EVERY_KIND:
        by_hand = augmented(by_hand, IDS, EPOCHS, parse_augment([text]), seed=SEED)
    assert torch.equal(by_hand, result())


@pytest.mark.parametrize("probability", [0.02, 0.1, 0.5, 1.0])
def test_probabilities_are_kept_and_kinds_and_epochs_choose_apart(probability):
    count = 20_000
    ids = torch.arange(count)
    images_BHWC = torch.zeros(count, 1, 1, 3, dtype=torch.uint8)
    chosen = []
    for name in KINDS:
        for epoch in (0, 1):
            draws = Draws.of(ids, torch.full_like(ids, epoch), seed=SEED, purpose=name)
            chosen.append(draws.between(0, 1).numpy() < probability)
    white = parse_augment([f"hsv:{probability}:brightness=2"])
    changed = augmented(images_BHWC + 100, ids, torch.zeros_like(ids), white, seed=SEED)[:, 0, 0, 0] == 200
    np.testing.assert_array_equal(changed.numpy(), chosen[2 * list(KINDS).index("hsv")])
    share = np.stack(chosen).mean(1)
    assert np.abs(share - probability).max() <= 4.5 * np.sqrt(probability * (1 - probability) / count)
    if probability < 1:
        apart = np.corrcoef(np.stack(chosen)) - np.eye(len(chosen))
        assert np.abs(apart).max() < 5 / np.sqrt(count)


def test_what_is_drawn_has_nothing_to_do_with_having_been_chosen():
    count = 4000
    ids = torch.arange(count)
    images_BHWC = torch.full((count, 1, 1, 3), 100, dtype=torch.uint8)
    half = parse_augment(["hsv:0.25:hue=0:saturation=1:brightness=0.5..1.5"])
    values = augmented(images_BHWC, ids, torch.zeros_like(ids), half, seed=SEED)[:, 0, 0, 0].double()
    values = values[values != 100]
    assert abs(values.mean() - 100) < 4 * 100 / (12 * len(values)) ** 0.5
    assert values.min() < 53
    assert values.max() > 147


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_read_from_the_device(name):
    images_BHWC = torch.from_numpy(noise(COUNT, SIZE))
    with Counts(host=[IDS, EPOCHS]) as counts:
        augmented(images_BHWC, IDS, EPOCHS, parse_augment([f"{name}:0.5"]), seed=SEED)
    assert counts.host_reads == {}


@pytest.mark.parametrize("name", KINDS)
def test_all_work_on_pixels_is_done_where_they_are(name):
    # A tensor on "meta" has no values: whoever asks for one fails, and so does what mixes it with a tensor elsewhere.
    images_BHWC = torch.empty(COUNT, SIZE, SIZE, 3, dtype=torch.uint8, device="meta")
    found = augmented(images_BHWC, IDS, EPOCHS, parse_augment([f"{name}:0.5"]), seed=SEED)
    assert found.device.type == "meta"
    assert found.shape == images_BHWC.shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", KINDS)
def test_a_gpu_makes_the_same_bits(name):
    images_BHWC = torch.from_numpy(faces(COUNT))
    kinds = parse_augment([f"{name}:1"])
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = augmented(images_BHWC.cuda(), IDS, EPOCHS, kinds, seed=SEED)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.cpu(), augmented(images_BHWC, IDS, EPOCHS, kinds, seed=SEED))
