"""What is asked for in words, and what it makes of the attributes that a picture has."""

import numpy as np
import pytest

from generation.stargan.asked import Asked
from recognition.errors import InputError

ASKED = Asked(("Black_Hair", "Blond_Hair", "Male", "Young"))


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["Male=1", "Young=0"], {"Male": True, "Young": False}),
        (["Blond_Hair=yes"], {"Blond_Hair": True}),
        (["Male=-1"], {"Male": False}),
        (["Black_Hair=0", "Blond_Hair=1"], {"Black_Hair": False, "Blond_Hair": True}),
    ],
)
def test_words(words, values):
    assert ASKED.values(words, "--set") == values


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Smiling=1"], "--set Smiling=1: the generator knows Black_Hair, Blond_Hair, Male, Young"),
        (["Male"], "--set Male: give each attribute once, as Male=1 or Male=0"),
        (["Male=2"], "give each attribute once"),
        (["Male=1", "Male=0"], "give each attribute once"),
        (["Black_Hair=1", "Blond_Hair=1"], "a picture has one of Black_Hair, Blond_Hair at a time"),
    ],
)
def test_wrong_words(words, said):
    with pytest.raises(InputError) as caught:
        ASKED.values(words, "--set")
    assert said in str(caught.value)


def test_a_new_colour_takes_the_old_ones_place():
    have = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]], bool)
    found = ASKED.targets(have, {"Blond_Hair": True, "Male": False})
    assert found.astype(int).tolist() == [[0, 1, 0, 0], [0, 1, 0, 1], [0, 1, 0, 0]]
    assert have.astype(int).tolist() == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]  # not changed
    assert ASKED.targets(have, {"Blond_Hair": False}).astype(int).tolist() == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_one_of_a_folder_takes_all_others_places():
    asked = Asked(("angry", "happy", "sad"), exclusive=True)
    assert asked.targets(np.eye(3, dtype=bool), {"sad": True}).astype(int).tolist() == [[0, 0, 1]] * 3
    assert asked.unknown({"sad": True}) == []
    with pytest.raises(InputError, match="one of angry, sad at a time"):
        asked.values(["sad=1", "angry=1"], "--set")


def test_what_nobody_says():
    assert ASKED.unknown({"Blond_Hair": True}, {"Male": False}) == ["Young"]
    assert ASKED.unknown({"Blond_Hair": False}, {}) == ["Black_Hair", "Male", "Young"]
