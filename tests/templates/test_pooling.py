"""Pooling against plain loops, and figures read off as InsightFace reads them with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve as sklearn_roc

from recognition.templates import pooling
from recognition.templates.nearest import tar_at_nearest_far
from recognition.templates.pooling import pool_templates, template_cosines
from recognition.verification.curves import roc_curve


def pooled_by_hand(emb, template, media, score):
    out = {}
    for t in sorted(set(template.tolist())):
        total = np.zeros(emb.shape[1])
        for m in sorted({media[k] for k in range(len(media)) if template[k] == t}):
            rows = [emb[k].astype(float) * score[k] for k in range(len(emb)) if (template[k], media[k]) == (t, m)]
            total += sum(rows) / len(rows)
        out[t] = total / np.linalg.norm(total)
    return out


@pytest.mark.parametrize("block", [1, 5, 40, 1 << 16])
@pytest.mark.parametrize("weighed", [True, False])
def test_media_are_averaged_and_templates_summed(monkeypatch, block, weighed):
    monkeypatch.setattr(pooling, "BLOCK_ROWS", block)
    rng = np.random.default_rng(0)
    template, media = rng.integers(0, 12, 150) * 3, rng.integers(0, 4, 150)  # a media id may stand in two templates
    emb, score = rng.normal(size=(150, 5)).astype(np.float32), rng.uniform(0.2, 1, 150).astype(np.float32)
    found, ids = pool_templates(emb, template, media, score if weighed else None)
    expected = pooled_by_hand(emb, template, media, score if weighed else np.ones(150))
    assert ids.tolist() == list(expected)
    np.testing.assert_allclose(found, np.stack(list(expected.values())), rtol=0, atol=3e-7)


def test_a_template_of_zeros_stays_zeros():
    found, _ = pool_templates(np.zeros((2, 3), np.float32), np.array([4, 4]), np.array([1, 2]))
    assert not found.any()


def test_cosines_by_template_id_in_blocks():
    rng = np.random.default_rng(1)
    emb, ids = rng.normal(size=(6, 4)).astype(np.float32), np.array([2, 3, 5, 7, 11, 13])
    first, second = rng.choice(ids, 50), rng.choice(ids, 50)
    place = {int(t): k for k, t in enumerate(ids)}
    expected = [float(emb[place[a]] @ emb[place[b]]) for a, b in zip(first.tolist(), second.tolist())]
    np.testing.assert_allclose(template_cosines(emb, ids, first, second, block=7), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_the_nearest_point_is_scikit_learns(seed, decimals):
    rng = np.random.default_rng(seed)
    same = rng.random(400) < 0.4
    score = np.round(rng.normal(size=400) + 1.4 * same, decimals)
    fpr, tpr, _ = sklearn_roc(same, score)
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    far, tar, _ = roc_curve(-score, same)
    wanted = (1e-6, 1e-3, 0.01, 0.1, 0.5)
    found = tar_at_nearest_far(far, tar, int((~same).sum()), int(same.sum()), wanted)
    for rate in wanted:
        assert found[rate] == pytest.approx(tpr[np.argmin(np.abs(fpr - rate))], abs=1e-12)
