"""Running statistics that are those of the pictures, and those that are not."""

import numpy as np
import pytest
import torch

from recognition.backbones import build_backbone
from recognition.data.synthetic import TRAINING, FaceRenderer
from recognition.embedding.batch_statistics import statistics_symptoms
from recognition.embedding.diagnosis import diagnose
from recognition.embedding.models import Embedder
from recognition.runtime import Runtime
from tests.embedding.patterns import fed, settled
from tests.ranks import run_ranks


def faces():
    renderer = FaceRenderer(112)
    return np.stack([renderer.draw(0, TRAINING, label, label) for label in range(12)])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return settled(build_backbone("mbf_tiny", 16), faces()).state_dict()


def built(state):
    module = build_backbone("mbf_tiny", 16).eval()
    module.load_state_dict(state)
    return module


def sentences(module, images=None, runtime=None):
    images = faces() if images is None else images
    found = statistics_symptoms(fed(module), module, images, runtime=runtime or Runtime())
    assert all(finding.name == "batchnorm_drift" for finding in found)
    return [finding.sentence for finding in found]


def norms(module):
    return [part for part in module.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]


def test_statistics_of_these_pictures_are_healthy(network):
    module = built(network)
    assert sentences(module) == []
    assert not any(part._forward_pre_hooks for part in module.modules())  # nothing is left behind


def test_a_fresh_network_never_saw_a_picture():
    count = len(norms(build_backbone("mbf_tiny", 16)))
    (sentence,) = sentences(build_backbone("mbf_tiny", 16).eval())
    assert f"{count} of {count} BatchNorms never saw a picture" in sentence


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_variances_that_cannot_be(network, value):
    module = built(network)
    norms(module)[3].running_var[1] = value
    (sentence,) = sentences(module)
    assert "1 of" in sentence
    assert "impossible running statistics" in sentence


@pytest.mark.parametrize(("what", "factor"), [("running_var", 1e4), ("running_var", 1e-4)])
def test_one_layer_far_off_is_enough(network, what, factor):
    module = built(network)
    getattr(norms(module)[-1], what).mul_(factor)
    (sentence,) = sentences(module)
    assert "expect other activations" in sentence
    assert "1 of" in sentence


def test_means_far_off_are_found(network):
    module = built(network)
    last = norms(module)[-1]
    last.running_mean.add_(20 * last.running_var.sqrt())
    (sentence,) = sentences(module)
    assert "means 20" in sentence or "means 19" in sentence


def test_a_quarter_of_the_layers_somewhat_off_is_enough_and_a_little_is_not(network):
    some, little = built(network), built(network)
    for norm in norms(some):
        norm.running_var.mul_(6)
    for norm in norms(little)[-6:]:
        norm.running_var.mul_(1.3)
    assert len(sentences(some)) == 1
    assert sentences(little) == []


class SideBySide(torch.nn.Module):
    """Norms of the pictures themselves, so that none changes what another sees."""

    def __init__(self, count):
        super().__init__()
        self.norms = torch.nn.ModuleList([torch.nn.BatchNorm2d(3) for _ in range(count)])

    def forward(self, x_BCHW):
        return torch.cat([norm(x_BCHW).mean((2, 3)) for norm in self.norms], dim=1)


def test_variances_are_about_the_mean_of_bright_pictures_too():
    bright = (230 + faces() / 16).astype(np.uint8)
    assert sentences(settled(SideBySide(1), bright), bright) == []


@pytest.mark.parametrize(("count", "found"), [(4, 1), (5, 0)])
def test_one_layer_somewhat_off_matters_where_it_is_a_quarter_of_them(count, found):
    module = settled(SideBySide(count), faces())
    module.norms[1].running_var.mul_(9)
    assert len(sentences(module)) == found


def test_pictures_in_another_range_are_noticed(network):
    module = built(network)
    wrong = Embedder(lambda x: module(x * 127.5), None)
    assert [f.name for f in statistics_symptoms(wrong, module, faces(), runtime=Runtime())] == ["batchnorm_drift"]


def on_rank(runtime):
    torch.manual_seed(0)
    module = build_backbone("mbf_tiny", 16).eval()
    for norm in norms(module):
        norm.num_batches_tracked.fill_(1)
    return sentences(module, runtime=runtime)


def test_all_ranks_find_the_same():
    expected = on_rank(Runtime())
    assert run_ranks(on_rank, 2) == [expected, expected]


def test_a_network_without_batchnorm_has_no_such_illness():
    assert sentences(torch.nn.Flatten()) == []


def test_diagnose_looks_at_them(network):
    module = built(network)
    norms(module)[-1].running_var.mul_(1e4)
    images, issame = faces(), [index % 2 == 0 for index in range(6)]
    names = [finding.name for finding in diagnose(module, images, issame, runtime=Runtime())]
    assert "batchnorm_drift" in names
