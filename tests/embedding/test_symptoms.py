"""What embeddings say by themselves."""

import numpy as np
import pytest

from recognition.embedding.symptoms import effective_rank, embedding_symptoms

RNG = np.random.default_rng(0)
HEALTHY = RNG.normal(size=(300, 64))


def names(emb_ND):
    return [finding.name for finding in embedding_symptoms(emb_ND)]


@pytest.mark.parametrize("width", [2, 3, 64, 512])
@pytest.mark.parametrize("count", [8, 300])
def test_directions_at_random_are_healthy(count, width):
    assert names(RNG.normal(size=(count, width))) == []


def test_a_common_direction_that_hides_the_others_is_a_collapse():
    # One common vector of length c beside noise of length 8: the mean cosine is c^2 / (c^2 + 64).
    for length, found in ((20.0, []), (28.0, ["collapsed"]), (1e5, ["constant_embedding"])):
        common_D = np.zeros(64)
        common_D[:] = length / 8
        assert names(HEALTHY + common_D) == found


@pytest.mark.parametrize(("cosine", "found"), [(0.88, []), (0.92, ["collapsed"])])
def test_a_picture_does_not_count_as_like_itself(cosine, found):
    """Four rows with this cosine between any two; with themselves the mean would be 0.91 and 0.94."""
    rotation, _ = np.linalg.qr(RNG.normal(size=(5, 5)))  # without it one column would be the same for all
    rows = np.hstack([np.full((4, 1), cosine**0.5), (1 - cosine) ** 0.5 * np.eye(4)]) @ rotation
    assert names(rows) == found


def test_few_dimensions_in_use_are_a_collapse():
    plane = RNG.normal(size=(300, 2)) @ RNG.normal(size=(2, 64))
    assert names(plane) == ["collapsed"]
    assert names(plane + RNG.normal(size=(300, 8)) @ RNG.normal(size=(8, 64))) == []


def test_zeros_and_what_is_not_finite_are_kept_apart_from_the_rest():
    emb_ND = HEALTHY.copy()
    emb_ND[4] = 0
    emb_ND[[7, 9], 3] = np.nan, np.inf
    found = embedding_symptoms(emb_ND)
    assert [finding.name for finding in found] == ["nan", "zero_embedding"]
    assert "2 of 300" in found[0].sentence
    assert names(np.full((4, 3), np.nan)) == ["nan"]
    assert names(np.zeros((4, 3))) == ["zero_embedding"]


def test_dead_dimensions_may_have_any_value():
    emb_ND = HEALTHY.copy()
    emb_ND[:, 5], emb_ND[:, 9] = 0.25, 0
    found = embedding_symptoms(emb_ND)
    assert [finding.name for finding in found] == ["dead_dimensions"]
    assert "2 of 64 dimensions" in found[0].sentence
    assert "(5, 9)" in found[0].sentence


def test_effective_rank_is_that_of_the_paper():
    assert effective_rank(np.eye(7)) == pytest.approx(7)
    assert effective_rank(np.diag([1.0, 0, 0])) == pytest.approx(1)
    # Singular values 3 and 1: entropy of (3/4, 1/4).
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(4 / 3**0.75)
