"""The contact sheet shows the heads that are asked for, where they belong."""

import numpy as np
from PIL import Image

from recognition.grid import grid
from recognition.heads import contact


def test_rows_are_people_and_columns_poses(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["contact", str(tmp_path / "heads.png"), "--people", "2", "--size", "24"])
    contact.main()
    with Image.open(tmp_path / "heads.png") as opened:
        both = np.array(opened)
    assert both.shape == (2 * 24 + 4, 8 * 24 + 7 * 4, 3)
    assert np.array_equal(both[28:], contact.sheet(0, range(1, 2), 24))
    assert not np.array_equal(both[:24], both[28:])


def test_a_grid_has_each_picture_in_its_place():
    pictures = [[np.full((2, 2, 3), 10 * row + column, np.uint8) for column in range(3)] for row in range(2)]
    made = grid(pictures)
    assert made.shape == (2 * 2 + 4, 3 * 2 + 2 * 4, 3)
    for row in range(2):
        for column in range(3):
            place = made[row * 6 : row * 6 + 2, column * 6 : column * 6 + 2]
            assert (place == 10 * row + column).all()
    assert (made[2:6] == 255).all()
