"""Duplicates against a dictionary of the bytes themselves."""

import numpy as np
import pytest

from recognition.records.duplicates import find_duplicates, picture_hash


def by_brute_force(keys, labels, payloads) -> list[list[tuple[int, int]]]:
    groups: dict[bytes, list] = {}
    for key, label, payload in zip(keys.tolist(), labels.tolist(), payloads):
        groups.setdefault(payload, []).append((key, label))
    return [group for group in groups.values() if len(group) > 1]


@pytest.mark.parametrize("hash_of", [picture_hash, lambda payload: payload[0] % 5, lambda payload: 7])
@pytest.mark.parametrize(("count", "kinds"), [(0, 1), (1, 1), (2, 1), (40, 1000), (300, 60)])
def test_the_same_groups_as_by_brute_force(count, kinds, hash_of):
    """Poor hashes are only slow: the bytes decide."""
    rng = np.random.default_rng(count)
    payloads = [bytes([kind % 251, kind // 251]) for kind in rng.integers(0, kinds, count)]
    keys, labels = np.arange(count) * 3 + 5, rng.integers(0, 4, count)
    hashes = np.array([hash_of(payload) for payload in payloads], np.uint64)
    found = find_duplicates(keys, labels, hashes, lambda key: payloads[(key - 5) // 3])
    expected = by_brute_force(keys, labels, payloads)
    got = [[] for _ in expected]
    for group, key, label in zip(found.groups, found.keys, found.labels):
        got[group].append((int(key), int(label)))
    assert got == expected
    assert found.num_repeats == sum(len(group) - len({label for _, label in group}) for group in expected)
    conflicts = [number for number, group in enumerate(expected) if len({label for _, label in group}) > 1]
    assert found.conflicts.tolist() == conflicts
    assert found.facts() == {
        "images": sum(map(len, expected)),
        "repeats": found.num_repeats,
        "conflicts": len(conflicts),
    }


def test_blocks_of_the_search_join(monkeypatch):
    monkeypatch.setattr("recognition.records.duplicates._AT_ONCE", 3)
    hashes = np.array([9, 1, 2, 3, 9, 4, 5, 1], np.uint64)
    found = find_duplicates(np.arange(8), np.zeros(8, np.int64), hashes, lambda key: bytes([int(hashes[key])]))
    assert found.table() == "group,key,class\n0,0,0\n0,4,0\n1,1,0\n1,7,0\n"


def test_words():
    keys, labels = np.arange(6), np.array([0, 0, 1, 2, 2, 2])
    payloads = [b"a", b"a", b"a", b"b", b"c", b"b"]
    hashes = np.array([picture_hash(payload) for payload in payloads], np.uint64)
    assert find_duplicates(keys, labels, hashes, lambda key: payloads[key]).remarks() == [
        "repeats: 2 images are in their class once more, byte for byte",
        "label conflicts: 1, the same picture in several classes",
        "  key 0 (class 0) = key 1 (class 0) = key 2 (class 1)",
    ]


def test_many_conflicts_are_counted_and_the_first_named():
    keys = np.arange(24)
    found = find_duplicates(keys, keys, (keys // 2).astype(np.uint64), lambda key: bytes([key // 2]))
    remarks = found.remarks()
    assert remarks[0] == "label conflicts: 12, the same picture in several classes"
    assert remarks[-1] == "  ... and 2 more"
    assert len(remarks) == 1 + 10 + 1
