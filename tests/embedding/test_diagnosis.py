"""What is wrong is found by name, of networks that have it on purpose; healthy ones raise nothing."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from recognition.data.pictures import pictures_at
from recognition.embedding import diagnosis
from recognition.embedding.diagnosis import chosen_pairs, diagnose
from recognition.embedding.preprocess import OURS, Preprocess, parse_preprocess
from recognition.runtime import Runtime
from tests.embedding.patterns import CELLS, Reader, fed, pattern_pairs
from tests.ranks import run_ranks


def names(model, pairs, *, deep=False, runtime=None, **options):
    return [finding.name for finding in diagnose(model, *pairs, runtime=runtime or Runtime(), deep=deep, **options)]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_a_healthy_model_raises_nothing_be_it_good_or_middling(deep, noise):
    assert names(fed(Reader()), pattern_pairs(noise=noise), deep=deep) == []


@pytest.mark.parametrize("seed", range(5))
def test_chance_alone_suggests_nothing(seed):
    """All three channels hold the same pattern each with its own noise: no order is better."""
    images, issame = pattern_pairs(noise=0.3, seed=seed)
    images = np.stack([pattern_pairs(noise=0.3, seed=seed)[0][..., 0] for _ in range(3)], -1)
    images = (images + np.random.default_rng(seed).normal(0, 60, images.shape)).clip(0, 255).astype(np.uint8)
    assert names(fed(Reader(channel=0)), (images, issame), deep=True) == []


def test_the_other_channel_order_is_suggested_with_the_flag_that_sets_it():
    pairs = pattern_pairs(channels=(2,))
    found = diagnose(fed(Reader(channel=0)), *pairs, runtime=Runtime())
    assert [finding.name for finding in found] == ["channel_order"]
    assert "--preprocess bgr" in found[0].suggestion
    assert set(found[0].facts()) == {"name", "sentence", "suggestion"}
    right = parse_preprocess("bgr").over(fed(Reader()).preprocess)
    assert names(fed(Reader(channel=0), right), pairs, deep=True) == []
    other_way = diagnose(fed(Reader(channel=2), right), *pairs, runtime=Runtime())
    assert "--preprocess rgb" in other_way[0].suggestion


def test_the_normalisation_is_suggested_by_name():
    """A reader of 0 to 1, given dark pictures in -1 to 1, sees nothing but black."""
    pairs = pattern_pairs(low=0, high=110)
    reader = Reader(lowest=0.0, highest=1.0, grey=0.2)
    found = {finding.name: finding for finding in diagnose(fed(reader), *pairs, runtime=Runtime())}
    assert "--preprocess unit" in found["normalisation"].suggestion
    assert "constant_embedding" in found
    assert names(fed(reader, parse_preprocess("unit")), pairs, deep=True) == []


def test_both_at_once_are_found():
    pairs = pattern_pairs(low=0, high=110, channels=(2,))
    reader = Reader(channel=0, lowest=0.0, highest=1.0, grey=0.2)
    found = {finding.name: finding for finding in diagnose(fed(reader), *pairs, runtime=Runtime())}
    assert "--preprocess unit,bgr" in found["normalisation"].suggestion


def test_a_model_of_bytes_is_only_tried_in_the_other_order():
    model = fed(Reader(lowest=0, highest=255, grey=127), Preprocess("RGB", (0.0,), (1.0,)))
    object.__setattr__(model.network, "whole_pixels", True)
    assert names(model, pattern_pairs(channels=(0,))) == ["at_chance"]


def test_pictures_that_are_cut_too_wide_are_found():
    found = diagnose(fed(Reader()), *pattern_pairs(inner=14), runtime=Runtime())
    assert [finding.name for finding in found] == ["alignment"]
    assert "by a factor of 2" in found[0].sentence


def test_a_model_at_chance_with_every_variant_is_told_so():
    assert names(fed(Reader()), pattern_pairs(noise=50.0)) == ["at_chance"]


class Dropping(Reader):
    def forward(self, x_BCHW):
        return nn.functional.dropout(super().forward(x_BCHW), training=True)


class Normalising(Reader):
    def forward(self, x_BCHW):
        emb_BD = super().forward(x_BCHW)
        return emb_BD - emb_BD.mean(0) if len(emb_BD) > 1 else emb_BD


class OneSided(Reader):
    def forward(self, x_BCHW):
        return super().forward(x_BCHW) * (torch.arange(CELLS * CELLS) % CELLS > 2)


def test_a_model_that_was_not_put_into_eval_mode_is_found():
    assert names(fed(Dropping()), pattern_pairs(noise=0.05)) == ["not_deterministic"]
    assert names(fed(Normalising()), pattern_pairs(noise=0.05)) == ["batch_dependent"]


def test_a_module_in_training_mode_is_put_back_and_not_complained_of():
    class Net(Reader):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x_BCHW):
            return self.drop(super().forward(x_BCHW))

    net = Net().train()
    assert names(net, pattern_pairs(noise=0.05)) == []
    assert net.drop.training


def test_dimensions_that_never_move_are_counted():
    found = diagnose(fed(OneSided()), *pattern_pairs(noise=0.05), runtime=Runtime())
    assert [finding.name for finding in found] == ["dead_dimensions"]
    assert "21 of 49" in found[0].sentence


def test_a_model_to_which_a_mirrored_picture_is_another_is_told_so():
    assert names(fed(Reader()), pattern_pairs(noise=0.05, symmetric=False)) == ["mirror_sensitive"]


def test_not_finite_and_zero_embeddings_are_counted_and_named():
    images, issame = pattern_pairs(noise=0.05)
    emb_ND = np.random.default_rng(0).normal(size=(len(images), 49))
    emb_ND[[3, 5], 7] = np.nan
    emb_ND[11] = 0
    found = {
        finding.name: finding for finding in diagnose(fed(Reader()), images, issame, runtime=Runtime(), emb_ND=emb_ND)
    }
    assert "2 of 800" in found["nan"].sentence
    assert "pictures 3, 5" in found["nan"].sentence
    assert "1 of 800" in found["zero_embedding"].sentence
    assert "pictures 11" in found["zero_embedding"].sentence


def test_pictures_read_on_demand_give_the_same():
    class OnDemand:
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index]

    images, issame = pattern_pairs(channels=(2,))
    some = pictures_at(OnDemand(images), np.array([7, 3]))
    np.testing.assert_array_equal([some[0], some[1]], pictures_at(images, np.array([7, 3])))
    expected = diagnose(fed(Reader(channel=0)), images, issame, runtime=Runtime())
    assert diagnose(fed(Reader(channel=0)), OnDemand(images), issame, runtime=Runtime()) == expected


def on_rank(runtime):
    return diagnose(fed(Reader(channel=0)), *pattern_pairs(channels=(2,)), runtime=runtime)


def test_all_ranks_find_the_same():
    expected = on_rank(Runtime())
    assert run_ranks(on_rank, 2) == [expected, expected]


@pytest.mark.parametrize("pairs", [12, 100, 6000])
def test_the_pairs_that_choose_do_not_decide(pairs):
    issame = np.arange(pairs) % 3 == 0
    choosing, deciding = chosen_pairs(issame)
    assert not set(choosing) & set(deciding)
    for chosen, most in ((choosing, 64), (deciding, 384)):
        for kind in (True, False):
            count = (issame[chosen] == kind).sum()
            assert 0 < count <= most
            assert pairs < 6000 or count == most


def test_a_model_that_is_fed_as_its_metadata_says_is_not_fed_otherwise(monkeypatch):
    images, issame = pattern_pairs(40)
    blind, tried = np.random.default_rng(0).normal(size=(len(images), 8)), []
    monkeypatch.setattr(diagnosis, "feeding_symptoms", lambda *args, **options: tried.append(1) or [])
    for wants_from, preprocess, deep, times in (
        ("metadata", OURS, False, 0),
        ("metadata", OURS, True, 1),
        ("metadata", parse_preprocess("bgr").over(OURS), False, 1),
        ("default", OURS, False, 1),
    ):
        model = fed(Reader(), preprocess)
        network = dataclasses.replace(model.network, wants=OURS, wants_from=wants_from)
        tried.clear()
        model = dataclasses.replace(model, network=network)
        diagnose(model, images, issame, runtime=Runtime(), deep=deep, emb_ND=blind)
        assert len(tried) == times, (wants_from, preprocess, deep)
