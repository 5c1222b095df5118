"""Both ways of taking figures take the same ones, so that their times may be compared."""

import json

import numpy as np
import pytest

from recognition.benchmarks import verification
from recognition.runtime import Runtime
from recognition.verification.protocol import verify_pairs
from tests.conftest import FIXTURES
from tests.verification.synthetic import noisy_pairs


@pytest.mark.parametrize("case", json.loads((FIXTURES / "verification.json").read_text()), ids=lambda c: str(c["seed"]))
def test_the_pass_per_threshold_is_arcface_torchs(case):
    figures = verification.threshold_by_threshold(*noisy_pairs(case["seed"], case["noise"]))
    assert figures.accuracy == pytest.approx(case["acc_mean"], abs=1e-12)
    assert figures.accuracy_std == pytest.approx(case["acc_std"], abs=1e-12)


def test_both_ways_have_the_same_accuracy_and_deviation():
    emb_ND, issame_P = verification.made_up_pairs(600, 32)
    figures, result = verification.threshold_by_threshold(emb_ND, issame_P), verify_pairs(emb_ND, issame_P)
    assert (figures.accuracy, figures.accuracy_std) == (result.accuracy, result.accuracy_std)
    assert 0.6 < result.accuracy < 0.999  # neither is trivial
    assert np.bincount(issame_P).tolist() == [300, 300]


def test_everyone_against_everyone_counts_all_pairs():
    seen = verification.compared(Runtime(), 60, 8)
    assert seen.pairs == 60 * 59 // 2
    assert seen.wall_s > 0


def test_the_rows_name_both_ways_and_every_number_of_images(here):
    rows = verification.bench_verification(here, pairs=100, images=[40, 60])
    assert [row["what"].partition(" images")[0] for row in rows[2:]] == ["40", "60"]
    assert all(row["wall_s"] > 0 for row in rows)
