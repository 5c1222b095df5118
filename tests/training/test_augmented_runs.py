"""Runs with augmentation: the network gets what the key of each sample says, on any ranks and resumed; it learns."""

import numpy as np
import pytest
import torch

from recognition.config import load_config
from recognition.data.augment import ARCFACE_TORCH, KINDS, augmented, parse_augment
from recognition.data.sources import open_source
from recognition.data.transforms import flip_mask, to_input
from recognition.runtime import Runtime
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.conftest import CONFIGS
from tests.ranks import run_ranks
from tests.training.small_runs import small, unreported, watched

EVERY_KIND = tuple(f"{name}:0.3" for name in KINDS)
EVERYTHING = f"augment={list(EVERY_KIND)}"


def inputs_of(runtime, folder, *overrides):
    """What the network got in each step, and the ids and epochs of the samples."""
    with watched() as steps, unreported():
        train(small(folder, *overrides), runtime)
    return [(step.inputs[0], step.ids, step.batches[0].epochs_B) for step in steps]


@pytest.mark.parametrize("choice", [EVERYTHING, "dali_aug=True"])
def test_the_network_gets_the_pictures_that_the_key_says(tmp_path, choice):
    found = inputs_of(Runtime(), tmp_path, choice, "seed=5", "num_image=16", "num_classes=5", "num_epoch=2")
    kinds = parse_augment(ARCFACE_TORCH if choice == "dali_aug=True" else EVERY_KIND)
    source = open_source("synthetic", num_classes=5, num_image=16, seed=5, image_size=32)
    assert {epoch for *_, epochs_B in found for epoch in epochs_B.tolist()} == {0, 1}
    changed = 0
    for x_BCHW, ids_B, epochs_B in found:
        for place, (sample, epoch) in enumerate(zip(ids_B, epochs_B)):
            image_1HWC = torch.from_numpy(source.read(int(sample)).payload)[None]
            key = sample[None], epoch[None]
            became = augmented(image_1HWC, *key, kinds, seed=5)
            changed += not torch.equal(became, image_1HWC)
            assert torch.equal(x_BCHW[place], to_input(became, flip_mask(*key, 5))[0])
    assert 8 < changed <= 32


def test_ranks_see_the_pictures_of_one_process(tmp_path):
    alone = inputs_of(Runtime(), tmp_path / "one", EVERYTHING)
    ranks = run_ranks(inputs_of, 2, tmp_path / "two", EVERYTHING, "batch_size=4")
    assert len(alone) == len(ranks[0]) == len(ranks[1]) == 4
    for (whole, ids_B, _), (first, ids_1, _), (second, ids_2, _) in zip(alone, *ranks):
        assert torch.equal(torch.cat([ids_1, ids_2]), ids_B)
        assert torch.equal(torch.cat([first, second]), whole)


def test_a_resumed_run_sees_the_pictures_of_an_unbroken_one(tmp_path):
    whole = inputs_of(Runtime(), tmp_path / "whole", EVERYTHING)
    first = inputs_of(Runtime(), tmp_path / "parts", EVERYTHING, "max_steps=2")
    rest = inputs_of(Runtime(), tmp_path / "parts", EVERYTHING)
    assert len(first) == len(rest) == 2
    for (x_BCHW, *_), (expected, *_) in zip([*first, *rest], whole):
        assert torch.equal(x_BCHW, expected)


def test_a_run_with_every_kind_learns(tmp_path):
    many = ("num_image=400", "num_classes=8", "num_epoch=4", "max_steps=None", "batch_size=32", "frequent=1")
    with unreported():
        rows = read_rows(train(small(tmp_path, EVERYTHING, *many, "scale=16", "lr=0.05"), Runtime()), "train")
    losses = [row["loss"] for row in rows]
    assert len(losses) == 50
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_dali_aug_means_its_four_kinds_with_either_loader():
    for dali in (True, False):
        cfg = load_config(CONFIGS / "ms1mv3_r50.py", ["dali_aug=True", f"dali={dali}", "augment=[mask:0.1]"])
        assert cfg.augmentations == parse_augment([*ARCFACE_TORCH, "mask:0.1"])
    assert load_config(CONFIGS / "ms1mv3_r50.py").augmentations == ()
    probabilities = {kind.name: kind.probability for kind in parse_augment(ARCFACE_TORCH)}
    assert probabilities == {"resize": 0.1, "blur": 0.2, "hsv": 0.2, "grey": 0.1}
