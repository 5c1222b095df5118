"""Pictures that are kept in memory while there is room, and read again where there is none."""

import numpy as np
import pytest

from generation.pictures import PictureCache


def test_a_picture_is_read_once_while_there_is_room():
    reads = []

    def read(key):
        reads.append(key)
        return np.full((4, 4, 3), key, np.uint8)

    cache = PictureCache(read, 2 * 48 + 47)  # two pictures and nearly a third
    for key in (1, 2, 3, 1, 2, 3, 3):
        assert (cache.read(key) == key).all()
    assert reads == [1, 2, 3, 3, 3]
    assert cache.left_bytes == 47


def test_what_cannot_be_read_is_asked_for_again():
    answers = iter([OSError("away"), np.zeros((2, 2, 3), np.uint8)])

    def read(key):
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    cache = PictureCache(read, 100)
    with pytest.raises(OSError, match="away"):
        cache.read("a")
    assert cache.read("a").shape == (2, 2, 3)
