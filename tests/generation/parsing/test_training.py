"""Runs learn what is to be learnt, and end as if nothing had been when they were interrupted."""

import json

import numpy as np
import pytest
import torch

from generation.parsing import training
from generation.parsing.batches import MaskBatch
from generation.parsing.bisenet import BiSeNet
from generation.parsing.checkpoint import read_checkpoint
from generation.parsing.config import ParsingConfig
from generation.parsing.evaluation import evaluate, figures
from generation.parsing.masks import open_masks
from generation.parsing.opening import open_network, open_parser
from generation.parsing.step import ParsingStep, parameter_groups
from recognition.errors import InputError, Stopped
from recognition.runtime import Runtime
from tests.generation.parsing.small_faces import SIDE, SMALL, face, run, write_faces
from tests.generation.resuming import same, stopping
from tests.ranks import run_ranks

STATES = ("step", "net", "optimizer", "small", "history", "best")


def equal(one, other):
    first, second = read_checkpoint(one), read_checkpoint(other)
    return {key: same(first[key], second[key]) for key in STATES}


Stops = stopping(ParsingStep)


def interrupted(data, out, at, runtime=None, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stops, "at", at)
        patch.setattr(training, "ParsingStep", Stops)
        with pytest.raises(Stopped, match="the same command with --resume auto goes on"):
            run(data, out, runtime, **options)


@pytest.mark.parametrize(
    "options", [{}, {"use_amp": True, "amp_dtype": "fp16"}, {"optimizer": "adamw"}], ids=["sgd", "fp16", "adamw"]
)
def test_interrupted_and_gone_on_with_is_the_same_to_the_bit(options, faces, tmp_path):
    whole = run(faces, tmp_path / "whole", **options)
    interrupted(faces, tmp_path / "parts", 4, **options)
    assert 3 < read_checkpoint(tmp_path / "parts" / "run")["step"] < 6
    parts = run(faces, tmp_path / "parts", resume="auto", **options)
    assert all(equal(whole, parts).values())
    weights = (torch.load(each / "parser.pth", weights_only=True) for each in (whole, parts))
    assert same(*weights)


def both_ranks(runtime, data, out):
    run(data, out / "whole", runtime, batch_size=2)
    interrupted(data, out / "parts", 4, runtime, batch_size=2)
    run(data, out / "parts", runtime, batch_size=2, resume="auto")


def test_two_ranks_go_on(faces, tmp_path):
    run_ranks(both_ranks, 2, faces, tmp_path)
    assert all(equal(tmp_path / "whole" / "run", tmp_path / "parts" / "run").values())


def test_it_learns_and_says_how_well(trained):
    row = json.loads((trained / "training_history.json").read_text())[-1]
    assert row["miou"] > 0.8
    assert set(name for name, iou in row["iou"].items() if iou is not None) == {"background", "skin", "hair"}
    parser = open_parser(trained)
    pixels, mask = face(100)
    assert (parser(pixels) == mask).mean() > 0.9
    twice = parser(pixels.repeat(2, 0).repeat(2, 1))
    assert (twice == mask.repeat(2, 0).repeat(2, 1)).mean() > 0.9


def test_the_best_weights_are_kept(faces, tmp_path, monkeypatch):
    scores = iter([0.5, 0.9, 0.7])
    kept = training.figures
    monkeypatch.setattr(training, "figures", lambda counts_CC: kept(counts_CC) | {"miou": next(scores)})
    folder = run(faces, tmp_path, eval_every=2)
    assert read_checkpoint(folder / "best_model.pth")["step"] == 4
    assert read_checkpoint(folder)["step"] == 6
    weights = torch.load(folder / "parser.pth", weights_only=True)
    assert same(weights, read_checkpoint(folder / "best_model.pth")["net"])
    assert open_network(folder)[1]["step"] == 4


def test_a_step_that_is_not_finite_changes_nothing():
    torch.manual_seed(0)
    net, cfg = BiSeNet(width=4), ParsingConfig(**SMALL)
    step = ParsingStep(net, cfg, Runtime())
    pixels, mask = (torch.from_numpy(each)[None] for each in face(0))
    batch = MaskBatch(pixels.repeat(2, 1, 1, 1), mask.long().repeat(2, 1, 1))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        net.conv_out.conv_out.weight[0, 0] = float("nan")
    before["conv_out.conv_out.weight"] = net.conv_out.conv_out.weight.detach().clone()
    output = step(batch, lr_factor=1.0)
    assert output.agreed.is_bad
    assert all(
        torch.equal(tensor.nan_to_num(7), before[name].nan_to_num(7)) for name, tensor in net.state_dict().items()
    )


def test_rates_are_the_published_ones():
    cfg = ParsingConfig()
    assert cfg.rate_factor(999) == 1
    assert cfg.rate_factor(0) == pytest.approx(1e-3)
    for step in (1000, 30_000, 79_999):
        assert cfg.rate_factor(step) == pytest.approx((1 - (step - 1000) / 79_000) ** 0.9)
    groups = parameter_groups(BiSeNet(width=4), cfg)
    assert {(group["factor"], group["weight_decay"]) for group in groups} == {
        (1.0, 5e-4), (1.0, 0.0), (10.0, 5e-4), (10.0, 0.0)
    }  # fmt: skip
    assert sum(len(group["params"]) for group in groups) == len(list(BiSeNet(width=4).parameters()))


def test_what_does_not_fit_is_refused(faces, tmp_path):
    done = run(faces, tmp_path)
    with pytest.raises(InputError, match="of another make; give it back --width 4 --enlarge 1"):
        run(faces, tmp_path / "a", width=8, enlarge=2, resume=str(done))
    with pytest.raises(InputError, match=r"is of --batch_size 4 on 1 rank"):
        run(faces, tmp_path / "b", batch_size=2, resume=str(done))
    with pytest.raises(InputError, match="trained on other pictures than"):
        run(write_faces(tmp_path / "other", 15), tmp_path / "c", resume=str(done))
    with pytest.raises(InputError, match="all of its 6 steps done: nothing is left to do; give more --steps"):
        run(faces, tmp_path / "d", resume=str(done))
    with pytest.raises(InputError, match="is no checkpoint of launch/parsing.py train"):
        run(faces, tmp_path / "e", resume=str(done / "parser.pth"))
    for options, told in (
        ({"steps": 0}, "--steps 0: must be at least 1"), ({"warmup_steps": 6}, "--warmup_steps 6: must be below"),
        ({"lr": 0.0}, "--lr 0.0: must be above 0"), ({"momentum": 1.0}, "--momentum 1.0"),
        ({"optimizer": "lion"}, "--optimizer lion: choose from sgd, adamw"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=told):
            ParsingConfig(**{**SMALL, **options})


def test_masks_seen_whole_are_those_of_the_network(trained):
    net, _ = open_network(trained)
    pixels, _ = face(101)
    img = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    assert np.array_equal(open_parser(trained)(pixels), net(img)[0].argmax(0).numpy())


@pytest.mark.parametrize("enlarge", [1, 2])
def test_what_is_read_again_is_as_good_as_the_run_said(enlarge, faces, tmp_path):
    folder = run(faces, tmp_path, steps=30, eval_every=30, optimizer="adamw", lr=1e-2, width=8, enlarge=enlarge)
    row = read_checkpoint(folder)["history"][-1]
    assert row["miou"] > 0.3
    test = open_masks(faces, SIDE).split("test", SMALL["test_size"])
    plain = BiSeNet(width=8, enlarge=enlarge)
    plain.load_state_dict(torch.load(folder / "parser.pth", weights_only=True))
    for net in (open_network(folder / "last.pth")[0], plain):
        found = figures(evaluate(net, test, device=torch.device("cpu")))
        assert (found["miou"], found["accuracy"]) == (row["miou"], row["accuracy"])
