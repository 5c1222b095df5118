"""CelebA's table as it is published, line by line wrong ones, edits, and hair of one colour at a time."""

import itertools

import numpy as np
import pytest

from generation.stargan.attributes import (
    ambiguous_hair,
    edits_of,
    read_attributes,
    shown_targets,
)
from recognition.errors import InputError

TABLE = """3
Black_Hair Blond_Hair Male Young
000001.jpg -1  1  1 -1
000002.jpg  1 -1 -1  1
000003.jpg -1 -1  1  1
"""
NAMES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")


def table(tmp_path, text=TABLE):
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(text)
    return path


def test_celebas_form(tmp_path):
    found = read_attributes(table(tmp_path))
    assert found.names == ("Black_Hair", "Blond_Hair", "Male", "Young")
    assert found.files == ("000001.jpg", "000002.jpg", "000003.jpg")
    assert found.values_NA.tolist() == [
        [False, True, True, False],
        [True, False, False, True],
        [False, False, True, True],
    ]


def test_any_list_in_any_order(tmp_path):
    found = read_attributes(table(tmp_path)).chosen(["Young", "Black_Hair"])
    assert found.names == ("Young", "Black_Hair")
    assert found.values_NA.tolist() == [[False, False], [True, True], [True, False]]


@pytest.mark.parametrize(
    ("names", "said"),
    [(["male"], "'male' is not in the table; did you mean Male?"), (["Male", "Male"], "name each once")],
)
def test_a_wrong_list(names, said, tmp_path):
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        read_attributes(table(tmp_path)).chosen(names)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("000002.jpg  1 -1 -1  1", "000002.jpg  1 -1 -1", "line 4: 3 values for 4 attributes"),
        ("000002.jpg  1 -1 -1  1", "000002.jpg  1 -1 -1  2", "line 4: 2 is no value"),
        ("3\n", "4\n", "line 1 says 4 pictures, and 3 follow"),
        ("000002.jpg", "000001.jpg", "a picture has two lines: 000001.jpg"),
        ("3\nBlack", "Black", "the first line must be the number of pictures"),
        ("Male Young", "Male Male", "line 2: an attribute is named twice"),
    ],
)
def test_a_damaged_table(old, new, said, tmp_path):
    path = table(tmp_path, TABLE.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_attributes(path)
    assert str(caught.value).startswith(f"{path}")
    assert said in str(caught.value)


def test_edits_go_both_ways_and_from_each_colour_to_each_other():
    names = [edit.name for edit in edits_of(NAMES)]
    pairs = [f"{a} to {b}" for a, b in itertools.permutations(NAMES[:3], 2)]
    others = [f"{name}: {way}" for name in ("Male", "Young") for way in ("no to yes", "yes to no")]
    assert sorted(names) == sorted(pairs + others)


def test_targets_of_edits_never_have_two_colours():
    every = np.array([*itertools.product([False, True], repeat=5)])
    every = every[~ambiguous_hair(NAMES, every)]
    for edit in edits_of(NAMES):
        applies = edit.applies(every)
        target = edit.target(every[applies])
        assert applies.any()
        assert not ambiguous_hair(NAMES, target).any()
        assert edit.holds(target).all()
        assert not edit.holds(every[applies]).any()
        same = [i for i, name in enumerate(NAMES) if name not in edit.after]
        assert (target[:, same] == every[applies][:, same]).all()


def test_one_colour_alone_goes_both_ways():
    assert [edit.name for edit in edits_of(("Blond_Hair", "Male"))][:2] == [
        "Blond_Hair: no to yes",
        "Blond_Hair: yes to no",
    ]


def test_folders_exclude_each_other():
    edits = edits_of(("angry", "happy", "sad"), exclusive=True)
    assert len(edits) == 6
    for edit in edits:
        assert edit.target(edit_rows := np.eye(3, dtype=bool)[edit.applies(np.eye(3, dtype=bool))]).sum() == 1
        assert len(edit_rows) == 1


def test_sheets_show_each_colour_and_the_rest_turned_round():
    labels = np.array([[True, False, False, True, False], [False, False, False, False, True]])
    shown = dict(shown_targets(NAMES, labels))
    assert shown["Blond_Hair"].tolist() == [[False, True, False, True, False], [False, True, False, False, True]]
    assert shown["Male, other way"][:, 3].tolist() == [False, True]
    assert len(shown) == 5
