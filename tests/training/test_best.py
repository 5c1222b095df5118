"""Which model is verified, which is kept as the best, and which weights it has."""

import dataclasses
import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from recognition.data.synthetic import FaceRenderer, drawn_pairs
from recognition.runtime import Runtime
from recognition.targets.pairs import PairsOutcome, PairsTarget
from recognition.training import loop
from recognition.training.evaluation import Evaluation
from recognition.training.loop import train
from recognition.training.metrics import MetricsWriter, read_rows
from recognition.training.plan import Plan
from recognition.verification import Pairs
from recognition.verification.protocol import verify_pairs
from recognition.weights import load_backbone
from tests.training.small_runs import assert_same_weights, copied, moving_average, small, watched

# Alone, "first" would keep step 1 and "second" step 3; their means are 0.7, 0.9, 0.8.
FIRST, SECOND = (0.95, 0.90, 0.65), (0.45, 0.90, 0.95)

PLAN = Plan(0, 9, 9, 0, samples=0, samples_a_step=8)


@pytest.fixture
def verified(monkeypatch):
    """Let runs have two targets whose accuracies are given; collects (target, weights, options) of each scoring."""
    images, issame = drawn_pairs(FaceRenderer(32), 10, seed=0)
    plain = verify_pairs(np.random.default_rng(0).normal(size=(20, 4)), issame)
    accuracies = {"first": list(FIRST), "second": list(SECOND)}
    calls = []

    def score(target, model, **options):
        calls.append((target.name, copied(model), options))
        return PairsOutcome(dataclasses.replace(plain, accuracy=accuracies[target.name].pop(0)), 1.0)

    targets = {name: PairsTarget(name, Pairs(images, issame)) for name in accuracies}
    monkeypatch.setattr(PairsTarget, "score", score)
    monkeypatch.setattr(loop, "open_targets", lambda cfg, runtime: targets)
    return calls, accuracies


def test_the_best_is_the_step_with_the_highest_mean_over_targets(tmp_path, verified):
    with watched() as steps:
        run = train(small(tmp_path, "verbose=1", "max_steps=3"), Runtime())
    accuracy = {"first": 0.9, "second": 0.9}
    assert json.loads((run / "best.json").read_text()) == {"step": 2, "accuracy": accuracy}
    assert_same_weights(load_file(run / "best.safetensors"), steps[1].state, rtol=0, atol=0)
    assert_same_weights(load_file(run / "model.safetensors"), steps[2].state, rtol=0, atol=0)
    (_, best), (_, final) = load_backbone(run / "best.safetensors"), load_backbone(run / "model.safetensors")
    assert (best["step"], best["accuracy"]) == (2, accuracy)
    assert (final["step"], final["accuracy"]) == (3, {"first": 0.65, "second": 0.95})
    rows = [(row["step"], row["target"], row["accuracy"]) for row in read_rows(run, "verification")]
    assert rows == [(k + 1, name, v[k]) for k in range(3) for name, v in (("first", FIRST), ("second", SECOND))]


def test_of_equally_good_steps_the_first_is_kept(tmp_path, verified):
    verified[1].update(first=[0.5, 0.8, 0.8], second=[0.5, 0.8, 0.8])
    run = train(small(tmp_path, "verbose=1", "max_steps=3"), Runtime())
    assert json.loads((run / "best.json").read_text())["step"] == 2


@pytest.mark.parametrize("decay", [0.0, 0.15])
def test_a_run_that_dies_leaves_the_model_of_its_last_verification(tmp_path, verified, decay):
    verified[1].update(first=[0.8, 0.7], second=[0.8, 0.7])
    cfg = small(tmp_path, "verbose=1", "max_steps=3", f"ema_decay={decay}")
    with watched() as steps, pytest.raises(IndexError):  # there is no third accuracy
        train(cfg, Runtime())
    assert len(steps) == 3
    for name, step in (("best", 1), ("model", 2)):
        expected = moving_average([taken.state for taken in steps[:step]], decay)
        assert_same_weights(load_file(cfg.output_dir / f"{name}.safetensors"), expected, rtol=1e-5, atol=1e-6)
        assert load_backbone(cfg.output_dir / f"{name}.safetensors")[1]["step"] == step


def test_verification_takes_its_batch_size_from_the_config(tmp_path, verified):
    train(small(tmp_path, "val_batch_size=5", "max_steps=1"), Runtime())
    assert [(title, options) for title, _, options in verified[0]] == [
        (name, {"runtime": Runtime(), "batch_size": 5}) for name in ("first", "second")
    ]


def test_verification_happens_while_progress_is_paused(tmp_path, verified, monkeypatch):
    seen = []

    class SpiedProgress(loop.Progress):
        @contextmanager
        def paused(self):
            before = len(verified[0])
            with super().paused():
                yield
            seen.append(len(verified[0]) - before)

    monkeypatch.setattr(loop, "Progress", SpiedProgress)
    train(small(tmp_path, "verbose=1", "max_steps=2"), Runtime())
    assert seen == [2, 2]


def test_every_rank_takes_its_share_of_verification(tmp_path, verified):
    cfg, runtime = small(tmp_path), Runtime(1, 2)
    evaluate = Evaluation(
        loop.open_targets(cfg, runtime), cfg=cfg, runtime=runtime, metrics=MetricsWriter(None, cfg, plan=PLAN)
    )
    evaluate(nn.Identity(), 1)
    assert [options["runtime"] for _, _, options in verified[0]] == [runtime, runtime]


def test_the_moving_average_is_verified_kept_and_saved(tmp_path, verified):
    with watched() as steps:
        run = train(small(tmp_path, "ema_decay=0.15", "verbose=1", "max_steps=3"), Runtime())
    states = [step.state for step in steps]
    averages = [moving_average(states[: n + 1], 0.15) for n in range(3)]
    close = {"rtol": 1e-5, "atol": 1e-6}
    for n, (_, weights, _) in enumerate(verified[0][::2]):
        assert_same_weights(weights, averages[n], **close)
    assert_same_weights(load_file(run / "best.safetensors"), averages[1], **close)
    assert_same_weights(load_file(run / "model.safetensors"), averages[2], **close)
    saved = torch.load(run / "model.pt", weights_only=True)
    assert_same_weights(saved, averages[2], **close)
    for key in ("conv1.weight", "bn1.running_mean", "bn1.running_var"):
        assert not torch.allclose(saved[key], states[2][key], rtol=1e-3), key


def test_the_last_step_is_verified_too(tmp_path):
    run = train(small(tmp_path, "verbose=4", "max_steps=6", "val_targets=['synthetic']"), Runtime())
    assert [row["step"] for row in read_rows(run, "verification")] == [4, 6]


def test_a_run_without_targets_keeps_no_best(tmp_path):
    run = train(small(tmp_path, "max_steps=1"), Runtime())
    assert not (run / "best.safetensors").exists()
    assert json.loads((run / "report" / "report.json").read_text())["targets"] == []
