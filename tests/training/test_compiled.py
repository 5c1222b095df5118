"""torch.compile inside a step: the same numbers as without it."""

import shutil

import pytest
import torch
from torch._dynamo.eval_frame import OptimizedModule

from recognition.runtime import Runtime
from tests.training.linear_backbone import batch
from tests.training.test_step import make_step


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile on a CPU needs a C++ compiler (c++), none is here")
def test_a_compiled_step_is_the_plain_step(monkeypatch):
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # no pool of processes that outlives the test
    found = []
    for compiled in (False, True):
        take_step = make_step(Runtime(), compile=compiled, gradient_acc=2)
        assert isinstance(take_step.replica, OptimizedModule) is compiled
        before = [parameter.detach().clone() for parameter in take_step.backbone.parameters()]
        output = take_step([batch(0, 4), batch(4, 8)], step=0, lr=0.2)
        found.append([*take_step.backbone.parameters(), take_step.head.weight, output.loss, output.grad_norm])
        assert not any(map(torch.equal, before, take_step.backbone.parameters()))
        assert all("_orig_mod" not in key for key in take_step.model.state_dict())
    for plain, fused in zip(*found):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5)
