"""What a step of training tells the head, and what it does where nothing may wait for the device."""

import torch

from recognition.benchmarks.step import AsOnDevice
from recognition.head.rows import RowAdamW, RowSGD
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.assembly import build_step
from recognition.training.loop import train
from recognition.training.optimizer import build_row_optimizer
from tests.training.linear_backbone import batch, config
from tests.training.small_runs import small
from tests.training.test_step import make_step


def test_rows_are_under_way_before_the_backbone_runs():
    take_step = make_step(Runtime(), sample_rate=0.5, gradient_acc=2)
    seen, active = [], take_step.head.active
    take_step.replica.register_forward_pre_hook(lambda *_: seen.append(active.has_begun and len(active._tail_T)))
    take_step([batch(0, 4), batch(4, 8)], step=0, lr=0.1)
    assert seen == [8, 8]


def test_the_rate_of_the_step_reaches_the_centres():
    moved = []
    for lr in (0.1, 0.2):
        take_step = make_step(Runtime(), momentum=0.0, weight_decay=0.0)
        before = take_step.head.weight.clone()
        take_step([batch(0, 8)], step=0, lr=lr)
        moved.append(take_step.head.weight - before)
    torch.testing.assert_close(moved[1], 2 * moved[0], rtol=1e-4, atol=1e-6)


def test_keys_of_the_optimizer_reach_the_centres():
    sgd = {"momentum": 0.3, "weight_decay": 0.07, "lazy": "skip"}
    assert build_row_optimizer(config(**sgd)) == RowSGD(**sgd)
    assert build_row_optimizer(config(optimizer="adamw", weight_decay=0.07)) == RowAdamW(weight_decay=0.07)


def test_keys_of_the_head_reach_it(tmp_path):
    keys = ("head_mode=recompute", "head_operands=bf16", f"centers=mmap:{tmp_path}/set", "loss=uniface")
    take_step = build_step(small(tmp_path, *keys), Runtime())
    head = take_step.head
    assert (head.mode, head.operands, head.centers.file.path.parent.name) == ("recompute", "bf16", "set")
    trained = {id(p) for group in take_step.optimizer.param_groups for p in group["params"]}
    of_head = {id(p) for p in head.parameters()}
    assert of_head
    assert of_head <= trained


def test_a_run_that_never_waits_still_reports_at_logged_steps(tmp_path, monkeypatch):
    read = []

    class Watched(AsOnDevice):
        def agreed(self, step):
            read.append(step)
            return super().agreed(step)

    monkeypatch.setattr(assembly, "TrainStep", Watched)
    train(small(tmp_path, "frequent=2"), Runtime())
    assert read == [0, 1, 3]
