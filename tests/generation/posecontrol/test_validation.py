"""Validation: the same figures on one rank and on two, and PSNR of pictures as files keep them."""

import numpy as np
import pytest
import torch
from PIL import Image

from generation.posecontrol.arguments import config_of
from generation.posecontrol.assembly import assemble
from generation.posecontrol.validation import validate
from recognition.runtime import Runtime
from tests.generation.posecontrol.small_set import words
from tests.ranks import run_ranks


def validated(runtime, data, out, most):
    parts = assemble(config_of(words(data, out, "--batch_size", 3), description=""), runtime)
    parts.take_step.model.train()
    return parts, validate(parts.take_step, parts.val, most, runtime)


def figures(runtime, data, out, most):
    return validated(runtime, data, out, most)[1]


@pytest.mark.parametrize("most", [512, 3])
def test_two_ranks_find_what_one_finds(data, tmp_path, most):
    alone = figures(Runtime(), data, tmp_path, most)
    for found in run_ranks(figures, 2, data, tmp_path, most):
        assert vars(found) == pytest.approx(vars(alone), rel=1e-5)


def test_against_numpy(data, tmp_path):
    parts, found = validated(Runtime(), data, tmp_path, 512)
    assert not parts.take_step.model.training
    pairs, pose_set = parts.val.pairs, parts.pose_set
    psnr, copy, losses = [], [], []
    for front, video in zip(pairs.front_P, pairs.video_P):
        source, target = (
            np.asarray(Image.open(path)).astype(float)
            for path in (pose_set.front.paths[front], pose_set.video.paths[video])
        )
        given = torch.from_numpy(source / 127.5 - 1).permute(2, 0, 1).float()[None]
        with torch.no_grad():
            made = parts.take_step.model(given, torch.from_numpy(pose_set.video.pose_N3[video]).float()[None])
        made_HWC = made.image_BCHW[0].permute(1, 2, 0).double().numpy()
        losses.append(np.mean((made_HWC - (target / 127.5 - 1)) ** 2))
        as_file = np.round((made_HWC + 1) * 127.5).clip(0, 255)
        psnr.append(10 * np.log10(255**2 / np.mean((as_file - target) ** 2)))
        copy.append(10 * np.log10(255**2 / np.mean((source - target) ** 2)))
    assert found.image_loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert found.psnr_db == pytest.approx(np.mean(psnr), abs=1e-3)
    assert found.copy_psnr_db == pytest.approx(np.mean(copy), abs=1e-3)
