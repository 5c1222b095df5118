"""Skipped records: who is shown in their place, for any ranks, threads and resumes, and what the batches say of it."""

import itertools
import json
import threading

import numpy as np
import pytest
import torch

from recognition.data.loader import Loader
from recognition.data.order import sample_ids
from recognition.data.sources import SyntheticSource
from recognition.data.substitutes import MOST_SUBSTITUTES, BadRecord, substitutes
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.data.test_loader import SEED, FaultySource

N = 40
# With SEED the first substitute of 20 in epoch 0 is bad, too: a chain of two.
BAD = {3, 20, substitutes(20, epoch=0, num_samples=N, seed=SEED)[0]}


def torn(index):
    if index in BAD:
        raise InputError(f"sample number {index}: torn; tape it")


def load(*, rank=0, world=1, batch_size=6, source=None, **options):
    options = {"num_steps": 16, "image_size": 8, "seed": SEED, "skip_bad": True} | options
    runtime = Runtime(rank=rank, world=world)
    return list(Loader(source or FaultySource(torn), batch_size=batch_size, runtime=runtime, **options))


def joined(world, **options):
    """The global batches of 12 as (ids, labels, images, indices of the bad), by step."""
    ranks = [load(rank=rank, world=world, batch_size=12 // world, **options) for rank in range(world)]
    return [
        (
            torch.cat([part.ids_B for part in parts]).tolist(),
            torch.cat([part.labels_B for part in parts]).tolist(),
            torch.cat([part.images_BHWC for part in parts]).numpy(),
            [record.index for part in parts for record in part.bad],
        )
        for parts in zip(*ranks)
    ]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for (*lists, images, bad), (*their_lists, their_images, their_bad) in zip(found, expected):
        assert (lists, bad) == (their_lists, their_bad)
        np.testing.assert_array_equal(images, their_images)


def shown_by_hand(first, count, *, bad=frozenset(BAD), seed=SEED):
    """Ids shown at stream positions from `first` on, and the bad ones met, one position after the other."""
    ids, met = [], []
    for position in range(first, first + count):
        asked = int(sample_ids(np.array([position]), num_samples=N, seed=seed)[0])
        candidates = itertools.chain([asked], substitutes(asked, epoch=position // N, num_samples=N, seed=seed))
        for candidate in candidates:
            if candidate not in bad:
                ids.append(candidate)
                break
            met.append(candidate)
    return ids, met


def test_substitutes_are_others_each_once():
    for index, epoch in itertools.product(range(N), range(3)):
        tries = substitutes(index, epoch=epoch, num_samples=N, seed=SEED)
        assert len(set(tries)) == len(tries) == MOST_SUBSTITUTES
        assert set(tries) <= set(range(N)) - {index}


@pytest.mark.parametrize(("num_samples", "count"), [(1, 0), (2, 1), (3, 2), (10, 9), (11, 10), (12, 10)])
def test_a_small_set_has_all_its_others_to_try(num_samples, count):
    for index in range(num_samples):
        tries = substitutes(index, epoch=0, num_samples=num_samples, seed=0)
        assert len(set(tries)) == len(tries) == count
        if count < MOST_SUBSTITUTES:
            assert set(tries) == set(range(num_samples)) - {index}


def test_substitutes_are_these_on_any_machine():
    found = substitutes(7, epoch=2, num_samples=1_000_000, seed=11)
    assert json.dumps(found[:3]) == "[6087, 203940, 549392]"  # Python's numbers: they go into checkpoints


def test_another_seed_epoch_or_sample_has_others():
    args = {"index": 7, "epoch": 2, "num_samples": 1_000_000, "seed": 11}
    given = substitutes(**args)
    for change in ({"index": 8}, {"epoch": 3}, {"seed": 12}):
        assert not set(substitutes(**(args | change))) & set(given)


def test_each_sample_stands_in_about_as_often():
    counts = np.bincount(
        [substitutes(index, epoch=epoch, num_samples=N, seed=0)[0] for index in range(N) for epoch in range(100)]
    )
    # 4,000 draws among 40: 100 each, give or take six standard deviations.
    assert abs(counts - 100).max() < 6 * np.sqrt(100)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("num_workers", [0, 1, 2, 3])
def test_the_same_substitutes_for_any_ranks_and_threads(world, num_workers):
    batches, clean, met = joined(world, num_workers=num_workers), SyntheticSource(num_classes=5, image_size=8), []
    for step, (ids, labels, images, bad) in enumerate(batches):
        expected, expected_bad = shown_by_hand(12 * step, 12)
        assert (ids, bad) == (expected, expected_bad)
        assert labels == [index % 5 for index in ids]
        np.testing.assert_array_equal(images, [clean.read(index).payload for index in ids])
        met += bad
    # 16 steps of 12 are 4.8 epochs: 4 or 5 times each, and now and then as a substitute.
    assert set(met) == BAD
    assert all(met.count(index) >= 4 for index in BAD)


@pytest.mark.parametrize(("written", "read"), [(1, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("first", [1, 3, 7])
def test_so_it_is_after_a_resume_on_other_ranks(written, read, first):
    whole = joined(written)
    assert_same(joined(read, start_position=12 * first, num_steps=16 - first), whole[first:])


def test_the_epoch_goes_with_the_position_not_the_substitute():
    for step, batch in enumerate(load()):
        assert batch.epochs_B.tolist() == [position // N for position in range(6 * step, 6 * step + 6)]


def test_a_bad_record_says_which_and_why():
    found = {record for batch in load() for record in batch.bad}
    assert found == {BadRecord(index, f"sample number {index}", "torn; tape it") for index in BAD}


def test_an_image_of_another_size_is_a_bad_record_as_well():
    source = FaultySource()
    odd = SyntheticSource(num_classes=5, image_size=16)
    source.read = lambda index: (odd if index == 4 else source.inner).read(index)
    batches = load(source=source)
    assert all(4 not in batch.ids_B for batch in batches)
    assert {record.index for batch in batches for record in batch.bad} == {4}
    assert "the image is 16x16 pixels, 8x8 is expected" in next(r.reason for b in batches for r in b.bad)


def test_a_sound_set_gives_the_batches_that_it_gives_without_skipping():
    for ours, theirs in zip(load(source=FaultySource()), load(source=FaultySource(), skip_bad=False), strict=True):
        assert ours.ids_B.equal(theirs.ids_B)
        assert ours.images_BHWC.equal(theirs.images_BHWC)
        assert ours.bad == theirs.bad == ()


def test_a_set_where_nothing_can_be_read_ends_the_loader():
    read = []

    def fault(index):
        read.append(index)
        raise InputError(f"sample number {index}: torn; tape it")

    with pytest.raises(
        InputError, match=r"^sample number \d+: torn; tape it \(nor can any of the 10 be read that"
    ) as e:
        load(source=FaultySource(fault), num_workers=0)
    asked = int(sample_ids(np.array([0]), num_samples=N, seed=SEED)[0])
    assert str(e.value).startswith(f"sample number {asked}:")
    assert read == [asked, *substitutes(asked, epoch=0, num_samples=N, seed=SEED)]


def test_without_skipping_the_first_bad_record_is_an_error():
    with pytest.raises(InputError, match=r"^sample number \d+: torn; tape it$"):
        load(skip_bad=False)


def test_a_read_that_hangs_is_no_bad_record():
    release = threading.Event()

    def fault(index):
        if index == 20:
            release.wait(20)

    with pytest.raises(InputError, match="no sample was read for 0.3 s, stuck at sample number 20"):
        load(source=FaultySource(fault), timeout_s=0.3)
    release.set()


def test_a_bug_is_no_bad_record():
    def fault(index):
        if index == 20:
            raise KeyError("no such thing")

    with pytest.raises(RuntimeError, match="^sample number 20: loading failed with KeyError"):
        load(source=FaultySource(fault))
