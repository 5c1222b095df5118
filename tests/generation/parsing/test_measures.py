"""Loss and intersection over union, against what other people's code or a plain loop says."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

from generation.parsing.losses import hard_pixel_loss, parsing_loss
from generation.parsing.measures import counts, intersection_over_union, mean_over_present


def masks(seed, n_classes=6):
    draw = np.random.default_rng(seed)
    truth, found = draw.integers(0, n_classes, (2, 3, 9, 11), dtype=np.uint8)
    return truth, np.where(draw.random(truth.shape) < 0.5, truth, found)


def test_counts_are_the_confusion_matrix():
    truth, found = masks(0)
    wanted = confusion_matrix(truth.ravel(), found.ravel(), labels=range(8))
    assert np.array_equal(counts(truth, found, 8), wanted)


def test_iou_is_the_jaccard_score_and_its_mean_that_over_what_occurs():
    truth, found = masks(1)
    truth[truth == 3] = 2  # class 3 is found and never there; 6 and 7 are neither
    iou_C = intersection_over_union(counts(truth, found, 8))
    wanted = jaccard_score(truth.ravel(), found.ravel(), labels=range(6), average=None)
    assert iou_C[:6] == pytest.approx(wanted, abs=1e-15)
    assert np.isnan(iou_C[6:]).all()
    assert mean_over_present(counts(truth, found, 8)) == pytest.approx(wanted[[0, 1, 2, 4, 5]].mean(), abs=1e-15)
    assert math.isnan(mean_over_present(np.zeros((3, 3), np.int64)))


def brute(logits, mask, sure, share):
    losses = []
    for b, row, column in np.ndindex(*mask.shape):
        scores = logits[b, :, row, column].double()
        losses.append(float(scores.logsumexp(0) - scores[mask[b, row, column]]))
    losses.sort(reverse=True)
    hard = [loss for loss in losses if loss > -math.log(sure)]
    least = max(1, int(share * len(losses)))
    return np.mean(hard if len(hard) >= least else losses[:least])


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("right", [0.0, 40.0], ids=["any", "nearly all right"])
def test_the_loss_is_that_of_the_hard_pixels(scale, right):
    torch.manual_seed(0)
    mask = torch.randint(0, 5, (2, 8, 8))
    logits = scale * torch.randn(2, 5, 8, 8)
    logits += right * torch.nn.functional.one_hot(mask, 5).permute(0, 3, 1, 2)
    assert hard_pixel_loss(logits, mask).item() == pytest.approx(brute(logits, mask, 0.7, 1 / 16), rel=1e-5, abs=1e-7)
    three = [logits, logits + 1, -logits]
    wanted = sum(brute(each, mask, 0.7, 1 / 16) for each in three)
    assert parsing_loss(three, mask).item() == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_easy_pixels_have_no_gradient():
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 0] = 9  # sure of class 0
    logits.requires_grad_()
    mask = torch.zeros(1, 4, 4, dtype=torch.int64)
    mask[0, 1, 2] = 1
    hard_pixel_loss(logits, mask).backward()
    assert (logits.grad.abs().sum(1)[0] > 0).nonzero().tolist() == [[1, 2]]


def test_where_few_pixels_are_hard_the_hardest_count():
    mask = torch.zeros(1, 8, 8, dtype=torch.int64)
    logits = torch.tensor([0.8, 0.2]).log()[None, :, None, None].repeat(1, 1, 8, 8)
    logits[0, :, 0, 0] = logits[0, :, 0, 0].flip(0)  # one is wrong, and a 16th are four
    wanted = (-math.log(0.2) - 3 * math.log(0.8)) / 4
    assert hard_pixel_loss(logits, mask).item() == pytest.approx(wanted, rel=1e-6)
