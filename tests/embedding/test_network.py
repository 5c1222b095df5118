"""Which of a network's outputs is its embedding."""

import hashlib

import pytest

from recognition.embedding.network import file_sha256, which_output, width_of


@pytest.mark.parametrize(
    ("shape", "width"),
    [
        ((8, 512), 512),
        (("N", "D"), None),
        ((8, 512, 1, 1), 512),
        ((8, 1, 1, 512), 512),
        ((8, 512, 7, 7), 0),
        ((8, 1, 512), 512),
        ((8, 100, 1), 0),  # scores of a detector's 100 places
        ((8, 512, "h", "w"), 0),
        ((8, 1), 1),
        ((8,), 0),
        ((), 0),
    ],
)
def test_the_length_of_the_vector_a_picture(shape, width):
    assert width_of(shape) == width


@pytest.mark.parametrize(
    ("widths", "chosen"),
    [
        ([512], 0),
        ([1, 512], 1),
        ([512, 1], 0),
        ([512, 85742], 0),
        ([128, 512, 512], 1),
        ([0, None], 1),
        ([0, 1], 1),
        ([85742], 0),
        ([0, 0], None),
        ([], None),
    ],
)
def test_the_longest_that_can_be_one_is_the_embedding(widths, chosen):
    assert which_output(widths) == chosen


def test_the_digest_is_that_of_all_bytes(tmp_path):
    data = bytes(range(256)) * 8192
    (tmp_path / "a").write_bytes(data)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()
