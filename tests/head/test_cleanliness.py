"""Cleanliness from cosines: running numbers, centres, neighbours, twins, against plain loops and hand-made angles."""

import math

import numpy as np
import pytest
import torch

from recognition.errors import InputError
from recognition.head import cleanliness
from recognition.head.cleanliness import (
    BINS,
    TargetCosines,
    nearest_others,
    own_cosines,
    robust_centers,
    similar_centers,
)


def at(*degrees):
    """Unit vectors in the plane, float32 (n, 2)."""
    radians = np.radians(np.array(degrees, np.float64))
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)


def degrees(centers_CD):
    return torch.rad2deg(torch.atan2(centers_CD[:, 1], centers_CD[:, 0])).tolist()


def cloud(*, images=300, classes=7, size=5, seed=0):
    rng = np.random.default_rng(seed)
    emb_ND = rng.standard_normal((images, size)).astype(np.float32)
    return emb_ND, rng.integers(0, classes, images)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks of images and classes, none of them full."""
    monkeypatch.setattr(cleanliness, "IMAGES_AT_ONCE", 64)
    monkeypatch.setattr(cleanliness, "CLASSES_AT_ONCE", 8)


# --- the stream -------------------------------------------------------------------------------------------------------


def test_means_and_counts_by_hand():
    seen = TargetCosines(num_images=3, num_classes=3)
    seen.add(np.array([0, 1]), np.array([0, 0]), np.array([0.5, 0.1]))
    seen.add(np.array([0, 2]), np.array([0, 2]), np.array([0.9, -1.0]))
    np.testing.assert_allclose(seen.image_mean(), [0.7, 0.1, -1.0], atol=1e-15)
    np.testing.assert_allclose(seen.mean(), [0.5, np.nan, -1.0], atol=1e-15)
    assert seen.count_C.tolist() == [3, 0, 1]
    assert np.isnan(seen.quantile(0.1)).tolist() == [False, True, False]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.5, 1.0])
def test_quantiles_are_right_to_a_bin(share):
    rng = np.random.default_rng(1)
    labels, cosines = rng.integers(0, 20, 4000), rng.uniform(-1, 1, 4000)
    labels[labels == 4] = 5
    seen = TargetCosines(4000, 20)
    seen.add(np.arange(4000), labels, cosines)
    for label, value in enumerate(seen.quantile(share)):
        own = np.sort(cosines[labels == label])
        if not len(own):
            assert np.isnan(value)
            continue
        rank = share * len(own)
        low, high = own[max(0, math.ceil(rank) - 1)], own[min(len(own) - 1, math.floor(rank))]
        assert low - 2 / BINS <= value <= high + 2 / BINS


def test_a_bin_is_filled_evenly():
    seen = TargetCosines(4, 1)
    seen.add(np.arange(4), np.zeros(4, int), np.full(4, 0.01))  # the bin from 0 to 1/32
    assert seen.quantile(0.5)[0] == pytest.approx(1 / 64, abs=1e-15)
    assert seen.quantile(1.0)[0] == pytest.approx(1 / 32, abs=1e-15)


def test_the_order_of_the_stream_does_not_matter():
    rng = np.random.default_rng(2)
    ids, labels, cosines = np.arange(256) % 100, rng.integers(0, 9, 256), rng.integers(-64, 65, 256) / 64
    streams = []
    for order in (np.arange(256), rng.permutation(256)):
        seen = TargetCosines(100, 9)
        for block in np.array_split(order, 10):
            seen.add(ids[block], labels[block], cosines[block])
        streams.append((seen.image_mean(), seen.mean(), seen.quantile(0.1)))
    for ours, theirs in zip(*streams):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("bad", [np.nan, 1.5, -2.0])
def test_a_cosine_that_is_none_names_the_image_and_counts_nothing(bad):
    seen = TargetCosines(9, 2)
    with pytest.raises(InputError, match="image 7: target cosine"):
        seen.add(np.array([3, 7]), np.array([0, 1]), np.array([0.5, bad]))
    assert not seen.count_C.any()


# --- centres ----------------------------------------------------------------------------------------------------------


def test_a_trimmed_centre_forgets_the_stranger():
    emb_ND = np.concatenate([at(-10, 0, 10, 90), 3 * at(200, 204)])  # lengths do not count
    labels_N = np.array([0, 0, 0, 0, 2, 2])
    plain = robust_centers(emb_ND, labels_N, 4, trim=0.0)
    trimmed = robust_centers(emb_ND, labels_N, 4, trim=0.25)
    # Sum of the four: (1 + 2 cos 10, 1).
    assert degrees(plain)[0] == pytest.approx(math.degrees(math.atan2(1, 1 + 2 * math.cos(math.radians(10)))), abs=1e-4)
    assert degrees(trimmed)[0] == pytest.approx(0, abs=1e-4)
    assert degrees(trimmed)[2] == pytest.approx(202 - 360, abs=1e-4)
    assert trimmed[1].tolist() == trimmed[3].tolist() == [0, 0], "nobody there"
    assert trimmed.norm(dim=1)[[0, 2]].tolist() == pytest.approx([1, 1], abs=1e-6)


def test_how_many_stay():
    """Of ten images three stay at 0.7, though 0.3 * 10 is a little more than 3 in binary."""
    emb_ND, labels_N = at(0, 0, 0, -40, 40, -40, 40, -40, 40, -80), np.zeros(10, int)
    assert degrees(robust_centers(emb_ND, labels_N, 1, trim=0.7, rounds=2))[0] == pytest.approx(0, abs=1e-3)
    assert abs(degrees(robust_centers(emb_ND, labels_N, 1, trim=0.69, rounds=2))[0]) > 5, "four"
    assert degrees(robust_centers(emb_ND[:1], labels_N[:1], 1, trim=0.9))[0] == 0


def test_another_round_trims_from_the_centre_of_the_round_before():
    emb_ND, labels_N = at(0, 1, 2, 3, 60, 100, 101), np.zeros(7, int)
    angles = [degrees(robust_centers(emb_ND, labels_N, 1, trim=0.45, rounds=rounds))[0] for rounds in (0, 1, 2, 5)]
    assert angles[0] > angles[1] > angles[2]
    assert angles[3] == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize("trim", [-0.1, 1.0])
def test_a_trim_that_leaves_nothing_is_refused(trim):
    with pytest.raises(InputError, match="must lie in"):
        robust_centers(at(0), np.zeros(1, int), 1, trim=trim)


# --- neighbours -------------------------------------------------------------------------------------------------------


def test_neighbours_equal_the_full_table():
    emb_ND, labels_N = cloud(classes=30)
    labels_N[labels_N == 11] = 12
    centers_CD = robust_centers(emb_ND, labels_N, 30)
    near = nearest_others(emb_ND.astype(np.float16), labels_N, centers_CD)
    unit = emb_ND.astype(np.float16).astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    table = unit @ centers_CD.double().numpy().T
    own = table[np.arange(300), labels_N]
    table[np.arange(300), labels_N] = -2
    table[:, 11] = -2
    np.testing.assert_allclose(near.own_N, own, atol=1e-6)
    np.testing.assert_allclose(near.other_N, table.max(1), atol=1e-6)
    assert np.array_equal(near.nearest_N, table.argmax(1))
    np.testing.assert_allclose(own_cosines(emb_ND, labels_N, centers_CD), own, atol=1e-3)


def test_an_empty_class_is_nobodys_neighbour():
    near = nearest_others(at(0), np.array([0]), torch.tensor([[1.0, 0], [0, 0], [-1, 0]]))
    assert (near.nearest_N.tolist(), near.other_N.tolist()) == ([2], [-1.0])


@pytest.mark.parametrize("threshold", [0.8, 0.1])
def test_twins_equal_the_full_table(threshold):
    centers_CD = torch.nn.functional.normalize(torch.randn(53, 4, generator=torch.Generator().manual_seed(0)))
    pairs_P2, cos_P = similar_centers(centers_CD, threshold)
    table = (centers_CD.double() @ centers_CD.double().T).numpy()
    expected = {(a, b) for a in range(53) for b in range(a + 1, 53) if table[a, b] >= threshold}
    assert set(map(tuple, pairs_P2.tolist())) == expected
    assert len(pairs_P2) == len(expected) > 20
    np.testing.assert_allclose(cos_P, [table[a, b] for a, b in pairs_P2], atol=1e-6)
    assert (np.diff(cos_P) <= 0).all()
    few_P2, few_P = similar_centers(centers_CD, threshold, most=7)
    assert np.array_equal(few_P2, pairs_P2[:7])
    assert np.array_equal(few_P, cos_P[:7])


def test_no_twins():
    pairs_P2, cos_P = similar_centers(torch.eye(3), 0.5)
    assert (pairs_P2.shape, cos_P.shape) == ((0, 2), (0,))
