"""Pairs that are drawn, and the .bin files made of them: plain counting and pickle are the oracles."""

import hashlib
import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from recognition.errors import InputError
from recognition.records.encode import Encoder, Prepared, Rejected
from recognition.records.pairing import encode_pairs, make_pairs
from recognition.verification.pairs import load_pairs, write_pairs
from tests.pictures import write_people

COUNTS = {"anna": 3, "bert": 1, "carl": 4}


@pytest.fixture
def people(tmp_path) -> Path:
    """Three identities with 3, 1 and 4 JPEGs of 16x16."""
    return write_people(tmp_path / "people", COUNTS)


@pytest.fixture
def crowd(tmp_path) -> Path:
    """Eight identities with 2 to 9 empty files: drawing pairs looks at names only."""
    for person in range(8):
        (tmp_path / "crowd" / f"p{person}").mkdir(parents=True)
        for number in range(person + 2):
            (tmp_path / "crowd" / f"p{person}" / f"{number}.jpg").touch()
    return tmp_path / "crowd"


@pytest.mark.parametrize("num_pairs", [20, 60, 200, None])
def test_pairs_are_balanced_distinct_and_laid_out_as_lfw(num_pairs, crowd):
    pairs, issame = make_pairs(crowd, num_pairs=num_pairs)
    possible = sum(n * (n - 1) // 2 for n in range(2, 10))
    assert len(pairs) == len(issame) == (num_pairs or possible // 10 * 20)
    folds = np.array(issame).reshape(10, 2, -1)
    assert folds[:, 0].all()
    assert not folds[:, 1].any()
    for (one, two), same in zip(pairs, issame):
        assert (Path(one).parent == Path(two).parent) == same
        assert one != two
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)


def test_pairs_depend_on_names_and_seed_alone(crowd):
    assert make_pairs(crowd, num_pairs=100) == make_pairs(crowd, num_pairs=100)
    assert make_pairs(crowd, num_pairs=100) != make_pairs(crowd, num_pairs=100, seed=1)


def test_every_identity_is_equally_likely_in_pairs(tmp_path):
    """Identity `big` has 100 images, 19 others have 10: it must not take the share its 4,950 pairs would give it."""
    for person in range(20):
        folder = tmp_path / f"p{person:02d}"
        folder.mkdir()
        for number in range(100 if person == 0 else 10):
            (folder / f"{number}.jpg").touch()
    pairs, issame = make_pairs(tmp_path, num_pairs=800)
    genuine = Counter(Path(one).parent.name for (one, _), same in zip(pairs, issame) if same)
    impostor = Counter(Path(path).parent.name for pair, same in zip(pairs, issame) if not same for path in pair)
    assert len(genuine) == len(impostor) == 20
    # 400 genuine pairs over 20 people: 20 each, standard deviation below 4.4; 800 impostor images: 40, below 6.2.
    assert genuine["p00"] < 20 + 5 * 4.4
    assert impostor["p00"] < 40 + 5 * 6.2


@pytest.mark.parametrize("num_pairs", [0, 30, -20, 100_000])
def test_impossible_numbers_of_pairs(num_pairs, crowd):
    with pytest.raises(InputError, match=r"take a multiple of 20 up to \d+"):
        make_pairs(crowd, num_pairs=num_pairs)


def test_too_few_images_for_pairs(people):
    with pytest.raises(InputError, match="allows 9 pairs of one person and 19 of two, 10 folds need at least 10"):
        make_pairs(people)


def test_bin_is_what_insightface_unpickles(people, tmp_path):
    pairs, issame = make_pairs(people, folds=3)
    write_pairs(tmp_path / "a.bin", encode_pairs(pairs, issame, Encoder()).images, issame)
    with open(tmp_path / "a.bin", "rb") as file:
        images, flags = pickle.load(file, encoding="bytes")
    assert flags == issame
    assert all(type(flag) is bool for flag in flags)
    digest = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731
    assert [digest(image) for image in images] == [digest(Path(path).read_bytes()) for pair in pairs for path in pair]


def test_bin_opens_in_our_own_reader(people, tmp_path):
    pairs, issame = make_pairs(people, folds=3)
    write_pairs(tmp_path / "a.bin", encode_pairs(pairs, issame, Encoder(24)).images, issame)
    opened = load_pairs(tmp_path / "a.bin")
    assert opened.images.shape == (2 * len(issame), 24, 24, 3)
    assert opened.issame.tolist() == issame


def test_write_pairs_refuses_odd_lists_and_leaves_nothing(tmp_path):
    for images, issame in (([b"a"], [True]), ([], [])):
        with pytest.raises(InputError, match="give two images for each pair"):
            write_pairs(tmp_path / "a.bin", images, issame)
    with pytest.raises(TypeError):
        write_pairs(tmp_path / "a.bin", [b"a", object()], [True])
    assert os.listdir(tmp_path) == []


@pytest.fixture
def spoilt(people) -> tuple[list, list]:
    """Four pairs: the second has a missing file, the third a damaged one, the fourth one that will be rejected."""
    (people / "carl" / "1.jpg").write_bytes(b"no picture")
    names = [("anna/0", "anna/1"), ("anna/0", "nobody"), ("carl/1", "anna/2"), ("bert/0", "anna/0")]
    return [(f"{people}/{one}.jpg", f"{people}/{two}.jpg") for one, two in names], [True, False, True, False]


def rejecting(payload: bytes, where) -> Prepared | Rejected:
    """As an aligner that finds no face in bert's picture."""
    return Rejected("no face") if "bert" in where() else Encoder()(payload, where)


def test_bad_pictures_are_counted_and_named(spoilt):
    with pytest.raises(InputError, match="1 pictures of 1 pairs cannot be used, first .*nobody.jpg: the file is miss"):
        encode_pairs(*spoilt, rejecting)
    pairs, issame = spoilt[0][2:], spoilt[1][2:]
    found = r"2 pictures of 2 pairs cannot be used, first .*carl/1.jpg: not a readable .* | .*bert/0.jpg: no face. Is"
    with pytest.raises(InputError, match=found):
        encode_pairs(pairs, issame, rejecting)
    with pytest.raises(InputError, match="2 pictures of 2 pairs cannot be used"):
        encode_pairs(pairs, issame, rejecting, skip_bad=True)


def test_bad_pictures_take_their_pairs_along_if_asked(spoilt, people):
    encoded = encode_pairs(*spoilt, rejecting, skip_bad=True)
    assert encoded.images == [(people / "anna" / name).read_bytes() for name in ("0.jpg", "1.jpg")]
    assert encoded.issame == [True]
    assert [Path(path).relative_to(people).as_posix() for path, _ in encoded.left_out] == [
        "nobody.jpg",
        "carl/1.jpg",
        "bert/0.jpg",
    ]


def test_pictures_of_two_sizes_are_not_one_set(people):
    write_people(people, {"dora": 1}, size=24)
    pair = (str(people / "anna" / "0.jpg"), str(people / "dora" / "0.jpg"))
    with pytest.raises(InputError, match="dora/0.jpg: is 24x24 pixels, the images before it are 16x16"):
        encode_pairs([pair], [False], Encoder(), skip_bad=True)
