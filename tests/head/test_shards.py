"""Which rank owns which classes: arcface_torch's rule, for any number of classes."""

import pytest
import torch

from recognition.head.shards import class_range, local_labels, num_sampled


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("num_classes", [1, 3, 7, 64, 101, 2_059_906])
def test_ranges_cover_all_classes_in_order_and_differ_by_one_at_most(num_classes, world):
    ranges = [class_range(num_classes, world, rank) for rank in range(world)]
    assert [start for start, _ in ranges] == [sum(count for _, count in ranges[:rank]) for rank in range(world)]
    assert sum(count for _, count in ranges) == num_classes
    assert [count for _, count in ranges] == [num_classes // world + (r < num_classes % world) for r in range(world)]


def test_labels_of_other_shards_are_minus_one():
    labels = torch.tensor([0, 9, 10, 12, 13, 100])
    assert local_labels(labels, 10, 3).tolist() == [-1, -1, 0, 2, -1, -1]
    assert local_labels(labels, 101, 0).tolist() == [-1] * 6


@pytest.mark.parametrize(
    ("num_local", "rate", "expected"), [(0, 0.5, 0), (1, 0.1, 1), (10, 0.3, 3), (10, 0.39, 3), (10, 1.0, 10)]
)
def test_sample_size(num_local, rate, expected):
    assert num_sampled(num_local, rate) == expected
