"""Losses as they were written down, and one run twice: the same numbers to the last bit."""

import pytest

from tests.training.golden_runs import NAMES, golden_rows, golden_run

# Among instruction sets of one CPU (SSE4, AVX2, AVX-512 with AMX) the rows differ by up to 4e-7, 7e-5 and 2e-6.
LOSS_REL, GRADIENT_REL, COSINE_ABS = 1e-5, 1e-3, 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_the_same_twice_and_as_it_was_written_down(name, tmp_path):
    first, second = golden_run(name, tmp_path / "first"), golden_run(name, tmp_path / "second")
    assert first == second
    written = golden_rows(name)
    assert [row["step"] for row in first.rows] == [row["step"] for row in written] == [1, 2, 3, 4, 5]
    for row, expected in zip(first.rows, written):
        assert row["loss"] == pytest.approx(expected["loss"], rel=LOSS_REL)
        assert row["grad_norm"] == pytest.approx(expected["grad_norm"], rel=GRADIENT_REL)
        assert row["target_cos"] == pytest.approx(expected["target_cos"], abs=COSINE_ABS)
