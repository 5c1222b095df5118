"""Searches against every cosine by itself: ranks with ties, strangers, average precision, enrolment."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from recognition.errors import InputError
from recognition.identification import search
from recognition.identification.search import enrolled, search_gallery


def made(seed, *, ties=False):
    rng = np.random.default_rng(seed)
    person_g, person_q = rng.integers(0, 9, 40), rng.integers(0, 14, 60)
    gallery, probes = (rng.normal(size=(len(p), 6)).astype(np.float32) for p in (person_g, person_q))
    if ties:  # unit vectors of +-1/2: many cosines are equal, and none is rounded
        gallery, probes = (np.sign(emb[:, :4]) for emb in (gallery, probes))
    return gallery, person_g, probes, person_q


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("block", [0.5, 1, 17, 10_000])
@pytest.mark.parametrize("ties", [False, True])
def test_ranks_are_those_of_the_sorted_list(monkeypatch, seed, block, ties):
    gallery, person_g, probes, person_q = made(seed, ties=ties)
    monkeypatch.setattr(search, "BLOCK_COSINES", int(block * 40))
    found = search_gallery(gallery, person_g, probes, person_q)
    unit = [[row / np.linalg.norm(row) for row in emb] for emb in (gallery, probes)]
    for q in range(60):
        cosines = np.round([float(np.dot(unit[1][q], entry)) for entry in unit[0]], 6)
        assert found.best_Q[q] == pytest.approx(cosines.max(), abs=1e-6)
        assert cosines[found.best_row_Q[q]] == cosines.max()
        own = [g for g in range(40) if person_g[g] == person_q[q]]
        if not own:
            assert (found.rank_Q[q], found.own_row_Q[q]) == (0, -1)
            assert np.isnan(found.precision_Q[q])
            continue
        best_own = max(cosines[g] for g in own)
        ahead = sum(cosines[g] >= best_own for g in range(40) if g not in own)
        assert found.rank_Q[q] == 1 + ahead
        assert found.own_Q[q] == pytest.approx(best_own, abs=1e-6)
        assert found.own_row_Q[q] in own
        if not ties:
            expected = average_precision_score([g in own for g in range(40)], cosines)
            assert found.precision_Q[q] == pytest.approx(expected, abs=1e-9)
    assert (found.mated_Q == np.isin(person_q, person_g)).all()


def test_ties_count_against_the_right_person():
    gallery = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    found = search_gallery(gallery, np.array([5, 6, 7]), np.array([[2, 0]], np.float32), np.array([6]))
    assert found.rank_Q.tolist() == [2]
    assert found.precision_Q.tolist() == [0.5]


@pytest.mark.parametrize("entries", [5, 17, 100])
@pytest.mark.parametrize("own", [0, -1])
def test_one_picture_under_two_names_is_a_tie_whatever_the_product_rounds_to(entries, own):
    """Products of matrices add in another order at their edges: equal rows may differ in the last bit of a cosine."""
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(entries, 512)).astype(np.float32)
    gallery[-1] = gallery[0]
    probes = (gallery[0] + 0.3 * rng.normal(size=(257, 512))).astype(np.float32)
    found = search_gallery(gallery, np.arange(entries), probes, np.full(257, np.arange(entries)[own]))
    assert set(found.rank_Q.tolist()) == {2}
    assert set(found.precision_Q.tolist()) == {0.5}
    twice = search_gallery(gallery, np.r_[np.arange(entries - 1), 0], probes, np.zeros(257, int))
    assert (set(twice.rank_Q.tolist()), set(twice.precision_Q.tolist())) == ({1}, {1.0})


def test_enrolment_is_the_mean_of_unit_vectors():
    emb = np.array([[3, 0], [0, 2], [5, 5], [0, 7]], np.float32)
    entries, people = enrolled(emb, np.array([4, 4, 2, 4]))
    assert people.tolist() == [2, 4]
    np.testing.assert_allclose(entries, [[np.sqrt(0.5)] * 2, [1 / 3, 2 / 3]], rtol=1e-6)


def test_what_cannot_be_searched_is_refused():
    gallery, person_g, probes, person_q = made(0)
    with pytest.raises(InputError, match="the gallery is empty"):
        search_gallery(gallery[:0], person_g[:0], probes, person_q)
    with pytest.raises(InputError, match="embeddings of gallery entries are NaN or infinite, first number 2"):
        search_gallery(np.where(np.arange(40)[:, None] == 2, np.inf, gallery), person_g, probes, person_q)
    probes[7, 2] = np.nan
    with pytest.raises(InputError, match="embeddings of probes are NaN or infinite, first number 7"):
        search_gallery(gallery, person_g, probes, person_q)
