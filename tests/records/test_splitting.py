"""Split sets: no one on both sides, every image on one, and lists that a fine-tuning can start from."""

import csv
import os

import numpy as np
import pytest

from recognition.errors import InputError
from recognition.records.packing import pack_folder
from recognition.records.shuffling import shuffle
from recognition.records.splitting import split
from recognition.records.verifying import verify
from recognition.training.class_map import FRESH, old_labels
from tests.pictures import jpeg, write_people
from tests.records.sets import files_of, images_of, write_plain

PEOPLE = {f"p{number:02d}": 1 + number % 4 for number in range(20)} | {"p05": 40}
SIDES = ("train", "held_out")


@pytest.fixture
def packed(tmp_path):
    pack_folder(write_people(tmp_path / "people", PEOPLE), tmp_path / "set")
    return tmp_path / "set"


def label_pairs(folder):
    """(label, old label) of each line of labels.csv."""
    with open(folder / "labels.csv", newline="") as file:
        return [(int(row["label"]), int(row["old_label"])) for row in csv.DictReader(file)]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(("options", "held_out"), [({"share": 0.1}, 2), ({"share": 0.3}, 6), ({"identities": 19}, 19)])
def test_identities_and_their_images_are_on_one_side_each(options, held_out, shuffled, packed, tmp_path):
    whole = packed
    if shuffled:
        shuffle(packed / "train.rec", tmp_path / "shuffled")
        whole = tmp_path / "shuffled"
    rest, taken = split(whole / "train.rec", tmp_path / "out", **options)
    assert (rest.num_classes, taken.num_classes) == (20 - held_out, held_out)
    found = []
    for side, packed_side in zip(SIDES, (rest, taken)):
        folder = tmp_path / "out" / side
        assert packed_side.path == folder / "train.rec"
        pairs = label_pairs(folder)
        assert [label for label, _ in pairs] == list(range(packed_side.num_classes))
        old_of = dict(pairs)
        assert list(old_of.values()) == sorted(old_of.values())
        images = images_of(folder)
        # Images of an identity stay in the order of their keys.
        here = [(old, image) for old, image in images_of(whole) if old in old_of.values()]
        assert [(old_of[label], image) for label, image in images] == sorted(here, key=lambda pair: pair[0])
        assert packed_side.num_images == len(images)
        found.append([(old_of[label], image) for label, image in images])
        names = (folder / "identities.txt").read_text().splitlines()
        assert names == [f"p{old:02d}" for old in old_of.values()]
        assert (folder / "property").read_text() == f"{len(names)},16,16"
        assert verify(folder / "train.rec").problems == []
    assert sorted(found[0] + found[1]) == sorted(images_of(whole))
    assert not {old for old, _ in found[0]} & {old for old, _ in found[1]}


def test_the_draw_hangs_on_the_seed_alone_and_is_even(packed, tmp_path):
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        split(packed / "train.rec", tmp_path / out, share=0.5, seed=seed)
    a, b, c = ([files_of(tmp_path / out / side) for side in SIDES] for out in "abc")
    assert a == b
    assert a != c
    counts = np.zeros(20)
    for seed in range(30):
        split(packed / "train.rec", tmp_path / f"s{seed}", identities=10, seed=seed)
        counts[[old for _, old in label_pairs(tmp_path / f"s{seed}" / "held_out")]] += 1
    # 15 times each, standard deviation 2.7.
    assert counts.sum() == 300
    assert np.abs(counts - 15).max() < 4 * 2.74


@pytest.mark.parametrize("text", ["p03\np17\np03\n", "17\r\n3\r\n", "3\n\n17"])
def test_listed_identities(text, packed, tmp_path):
    (tmp_path / "list.txt").write_text(text)
    split(packed / "train.rec", tmp_path / "out", listed=tmp_path / "list.txt")
    assert [old for _, old in label_pairs(tmp_path / "out" / "held_out")] == [3, 17]


def test_names_that_are_numbers_are_names(tmp_path):
    pack_folder(write_people(tmp_path / "people", {"1": 1, "2": 1, "3": 1}), tmp_path / "set")
    (tmp_path / "list.txt").write_text("2\n")
    split(tmp_path / "set" / "train.rec", tmp_path / "out", listed=tmp_path / "list.txt")
    assert (tmp_path / "out" / "held_out" / "identities.txt").read_text() == "2\n"
    assert label_pairs(tmp_path / "out" / "held_out") == [(0, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p03\nnobody\n", r"list.txt, line 2: 'nobody' is not an identity"),
        ("p03\n4\n", r"list.txt, line 2: '4' is not an identity"),
        ("3\n20\n", r"list.txt, line 2: '20' is not an identity"),
        ("\n\n", "list.txt: lists nobody"),
        ("".join(f"{name}\n" for name in PEOPLE), "all 20 identities would be held out"),
    ],
)
def test_bad_lists(text, message, packed, tmp_path):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        split(packed / "train.rec", tmp_path / "out", listed=tmp_path / "list.txt")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("share", [0, 1, -0.1, 20, float("nan")])
def test_what_is_no_share(share, packed, tmp_path):
    with pytest.raises(InputError, match=f"a share of {share:g} of the identities cannot be held out"):
        split(packed / "train.rec", tmp_path / "out", share=share)


@pytest.mark.parametrize("options", [{"share": 0.01}, {"share": 0.99}, {"identities": 0}, {"identities": 20}])
def test_sides_that_would_be_empty(options, packed, tmp_path):
    with pytest.raises(InputError, match=r"(0|20) of 20 identities cannot be held out; take 1 to all but 1"):
        split(packed / "train.rec", tmp_path / "out", **options)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_shares_that_are_none(share, packed, tmp_path):
    with pytest.raises(InputError, match="a share of .* cannot be held out; give one between 0 and 1"):
        split(packed / "train.rec", tmp_path / "out", share=share)


@pytest.mark.parametrize("options", [{}, {"share": 0.1, "identities": 1}])
def test_one_way_to_choose(options, packed, tmp_path):
    with pytest.raises(InputError, match="give one of"):
        split(packed / "train.rec", tmp_path / "out", **options)


def test_labels_csv_is_a_class_map(packed, tmp_path):
    split(packed / "train.rec", tmp_path / "out", share=0.25)
    for side in SIDES:
        pairs = label_pairs(tmp_path / "out" / side)
        found = old_labels(tmp_path / "out" / side / "labels.csv", num_classes=len(pairs), num_old=20)
        assert found.tolist() == [old for _, old in pairs]
        assert FRESH not in found


def test_huge_labels_and_identities_without_images(tmp_path):
    labels = [(1 << 24) + 1, 5, 1 << 33, 5, (1 << 24) + 1]
    write_plain(tmp_path / "set", [(label, jpeg(number)) for number, label in enumerate(labels)])
    (tmp_path / "list.txt").write_text(f"{(1 << 24) + 1}\n")
    split(tmp_path / "set" / "train.rec", tmp_path / "out", listed=tmp_path / "list.txt")
    assert images_of(tmp_path / "out" / "held_out") == [(0, jpeg(0)), (0, jpeg(4))]
    assert images_of(tmp_path / "out" / "train") == [(0, jpeg(1)), (0, jpeg(3)), (1, jpeg(2))]
    assert label_pairs(tmp_path / "out" / "train") == [(0, 5), (1, 1 << 33)]


def test_names_that_are_too_few_and_a_folder_that_is_there(packed, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(InputError, match="out: already exists"):
        split(packed / "train.rec", tmp_path / "out", share=0.1)
    assert os.listdir(tmp_path / "out") == ["mine"]
    (packed / "identities.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"identities.txt: has 2 lines, but labels go up to 19"):
        split(packed / "train.rec", tmp_path / "new", share=0.1)
