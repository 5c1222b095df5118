"""The Triton sweep against dense autograd in float64 and against sweep.py: on a GPU, else in Triton's interpreter."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from recognition.errors import InputError
from recognition.head import CombinedMarginLoss, sweep, sweep_triton
from recognition.head.losses.subcenter_arcface import SubcenterArcFace
from recognition.head.objective import Objective
from recognition.head.rows import RowAdamW, RowSGD
from recognition.head.sweep import Coefficients, Part, Sample
from tests.conftest import ROOT
from tests.head.triton_cases import CASES, DECAY, LR, MOMENTUM, Case, step

HAS_CUDA = torch.cuda.is_available()
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
needs_gpu = pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")


@functools.cache
def stepped() -> dict[str, dict[str, torch.Tensor]]:
    """Results of all cases; the interpreter has to be chosen before triton is imported: in a process of its own."""
    if HAS_CUDA:
        return {name: step(case, "cuda") for name, case in CASES.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.pt"
        environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "tests.head.triton_cases", str(path)]
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return torch.load(path, weights_only=True)


def rounded(tensor: torch.Tensor, operands: str) -> torch.Tensor:
    """The operand as the kernels see it, with the gradient of the exact one."""
    if operands != "bf16":
        return tensor
    return tensor + (tensor.float().bfloat16().to(tensor.dtype) - tensor).detach()


class Dense(NamedTuple):
    """Results in float64, and the sums of the magnitudes of what was added up to them: errors are relative to these."""

    sums: torch.Tensor
    numerator: torch.Tensor
    rows: torch.Tensor
    magnitudes: dict[str, torch.Tensor]


@functools.cache
def dense(case: Case) -> Dense:
    """The same step in float64, its gradients by autograd from the sums, its optimizer torch's."""
    rows_SCPD = case.rows().double()
    centers_SD = rows_SCPD[:, 0, 0].clone().requires_grad_()
    swept, pull, pull_SD = [], 0, 0
    for sample, by in case.parts():
        x_GD = rounded(sample.x_GD.double(), case.operands).requires_grad_()
        unit_SD = F.normalize(centers_SD)
        cos_GS = x_GD @ rounded(unit_SD, case.operands).T
        logit_GS = 16 * (torch.where(cos_GS > case.filter, 0, cos_GS) if case.filter else cos_GS)
        takes_part_S = torch.ones(case.S, dtype=torch.bool)
        if case.tail:
            takes_part_S[case.S - case.tail :] = sample.active_T
        is_target_GS = torch.arange(case.S) == sample.slot_G[:, None]
        weights_GS = torch.exp(logit_GS - case.offset) * (takes_part_S & ~is_target_GS)
        sums_G1 = weights_GS.sum(1, keepdim=True)
        numerator_GD = torch.autograd.grad(weights_GS.sum(), x_GD, retain_graph=True)[0] / 16
        swept.append((sums_G1.detach(), numerator_GD, (weights_GS @ unit_SD.abs()).detach()))
        target_G = (is_target_GS * (x_GD @ unit_SD.T)).sum(1)
        pull = pull + (by.scale_G * (sums_G1[:, 0] / 16 + by.target_G * target_G)).sum() / case.batches
        terms_GS = weights_GS.detach() + is_target_GS * by.target_G.abs()[:, None]
        pull_SD = pull_SD + terms_GS.T @ (by.scale_G[:, None] * sample.x_GD.abs().double()) / case.batches
    centers_SD.grad = torch.autograd.grad(pull, centers_SD)[0]
    optimizer = torch.optim.SGD([centers_SD], LR, momentum=MOMENTUM, weight_decay=DECAY)
    optimizer.state[centers_SD]["momentum_buffer"] = rows_SCPD[:, 0, 1].clone()
    # The projection takes a part of every gradient off it again, at most all of it.
    length_S1 = rows_SCPD[:, 0, 0].norm(dim=1, keepdim=True).clamp_min(1e-12)
    along_S1 = (pull_SD * rows_SCPD[:, 0, 0].abs()).sum(1, keepdim=True) / length_S1
    step_SD = (pull_SD + along_S1 * rows_SCPD[:, 0, 0].abs() / length_S1) / length_S1
    optimizer.step()
    after_SPD = torch.stack([centers_SD.detach(), optimizer.state[centers_SD]["momentum_buffer"]], 1)
    moved_SPD = torch.stack([LR * step_SD, step_SD], 1)
    magnitudes = {"sums": swept[0][0], "numerator": swept[0][2], "rows": moved_SPD[:, None]}
    return Dense(swept[0][0], swept[0][1], after_SPD[:, None], magnitudes)


def by_blocks(case: Case) -> dict[str, torch.Tensor]:
    """The same step by sweep.py, in float32."""
    rows_SCPD, parts, swept = case.rows(), [], []
    options = {"operands": case.operands}
    for sample, by in case.parts():
        swept.append(
            sweep.sweep_forward(sample, rows_SCPD, case.objective, case.offset, keep=case.keep, **options),
        )
        parts.append(Part(sample, case.objective, case.offset, by, swept[-1].kept, swept[-1].inverse_R1))

    def update(rows_RPD: torch.Tensor, grad_RD: torch.Tensor, place: slice) -> None:
        RowSGD(MOMENTUM, DECAY).update_(rows_RPD, grad_RD, LR, 0)

    sweep.sweep_backward(parts, rows_SCPD, update, decay=DECAY, **options)
    return {"sums": swept[0].sums_GQ, "numerator": swept[0].numerator_GD, "rows": rows_SCPD}


def limit(case: Case, result: str) -> float:
    """Largest error of any term of a sum, relative to it."""
    # Of exponents up to 16, whose error is that of the cosine times 16, and of a sum.
    exact = 4 * 16 * 2.0**-24
    if case.operands == "tf32" and HAS_CUDA:
        # Operands of 11 bits each, in cosines times 16 and again in the second product.
        return 18 * 2.0**-10
    if result == "sums":
        return exact
    if case.operands == "bf16":
        # Weights and scaled embeddings are rounded to 8 bits; a product on the CPU is rounded once more.
        return 2 * 2.0**-8 + exact
    return (2.0**-8 if case.keep and result == "rows" else 0.0) + exact


def assert_near(actual: torch.Tensor, expected: torch.Tensor, allowed: torch.Tensor) -> None:
    assert actual.dtype == torch.float32
    assert actual.shape == expected.shape
    error = (actual.double() - expected.double()).abs()
    # What a row was before, and is still, is rounded too.
    allowed = allowed + 2 * torch.finfo(torch.float32).eps * expected.double().abs().amax(-1, keepdim=True)
    assert (error <= allowed).all(), (error / allowed).max()


@needs_triton
@pytest.mark.parametrize("result", ["sums", "numerator", "rows"])
@pytest.mark.parametrize("name", CASES)
def test_a_step_equals_the_dense_one(name, result):
    case, expected = CASES[name], dense(CASES[name])
    assert_near(stepped()[name][result], getattr(expected, result), limit(case, result) * expected.magnitudes[result])


# In bfloat16 the CPU rounds the cosines themselves, so that sweep.py is another computation there.
@needs_triton
@pytest.mark.parametrize("result", ["sums", "numerator", "rows"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.operands != "bf16"])
def test_a_step_equals_that_by_blocks(name, result):
    case = CASES[name]
    # What is kept is rounded by both of them, and to the same side if not for a rare last digit.
    allowed = limit(case, result) * dense(case).magnitudes[result]
    assert_near(stepped()[name][result], by_blocks(case)[result], allowed)


@needs_triton
def test_every_case_has_what_it_is_there_for():
    sums = {name: stepped()[name]["sums"] for name in CASES}
    for changed in ("filter", "tail"):
        assert (sums[changed] - sums["fp32-recompute"]).abs().max() > 0.1
    assert not torch.equal(sums["bf16-recompute"], sums["fp32-recompute"])


@pytest.mark.parametrize(
    ("step_of", "expected"),
    [
        ((Objective(64.0), RowSGD(), torch.float32), True),
        ((CombinedMarginLoss(64, 1, 0.5, 0, 0.3), RowSGD(), torch.float32), True),
        ((Objective(64.0), RowAdamW(), torch.float32), False),
        ((Objective(64.0), RowSGD(), torch.float64), False),
        ((Objective(64.0), RowSGD(), torch.float32, 4096), False),
        ((SubcenterArcFace(64.0), RowSGD(), torch.float32), False),
    ],
)
def test_only_steps_that_the_kernels_know_are_theirs(step_of, expected, monkeypatch):
    monkeypatch.setattr(sweep_triton, "_has_triton", lambda: True)
    assert sweep_triton.supports(*step_of) is expected
    monkeypatch.setattr(sweep_triton, "_has_triton", lambda: False)
    assert not sweep_triton.supports(*step_of)


@pytest.mark.parametrize("keep", [False, True])
def test_a_shard_without_classes_has_sums_of_zero(keep):
    case = Case(S=3)
    (sample, by), *_ = case.parts()
    rows_SCPD = case.rows()[:0]
    swept = sweep_triton.sweep_forward(sample, rows_SCPD, case.objective, case.offset, keep=keep)
    assert torch.equal(swept.sums_GQ, torch.zeros(case.G, 1))
    assert torch.equal(swept.numerator_GD, torch.zeros(case.G, case.D))
    part = Part(sample, case.objective, case.offset, by, swept.kept, swept.inverse_R1)
    sweep_triton.sweep_backward([part], rows_SCPD, sweep_triton.SGDStep(MOMENTUM, LR))


def test_without_triton_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "recognition.head.sweep_kernels", raising=False)
    sweep_triton._kernels.cache_clear()
    with pytest.raises(InputError, match="pip install triton"):
        step(CASES["one-class"])


@needs_triton
@pytest.mark.skipif(sys.platform != "linux", reason="triton brings its assembler for Linux only")
def test_the_kernels_compile_for_a_gpu_that_is_not_here(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DUMP_PTXAS_LOG": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.head.triton_compile", "90", "bf16"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    # Products on the matrix units, and gradients that stay in registers.
    for kernel in ("normalise_rows ", "weigh_classes wgmma", "descend_rows wgmma"):
        assert f"COMPILED {kernel}" in ran.stdout
    spilled = re.findall(r"(\d+) bytes spill stores", ran.stdout + ran.stderr)
    assert len(spilled) >= 3
    assert set(spilled) == {"0"}


@pytest.mark.gpu
@needs_triton
@needs_gpu
@pytest.mark.parametrize("name", ["chunks-tail-filter-keep", "wide-bf16", "many-samples"])
def test_two_runs_give_the_same_bits(name):
    for first, second in zip(step(CASES[name], "cuda").values(), step(CASES[name], "cuda").values()):
        assert torch.equal(first, second)


@pytest.mark.gpu
@needs_triton
@needs_gpu
@pytest.mark.parametrize("name", ["chunks-tail-filter-keep", "wide-bf16"])
def test_a_captured_step_never_waits_and_follows_the_learning_rate(name):
    case = CASES[name]
    lr = torch.tensor([LR], device="cuda")
    (sample, by), *_ = case.parts()
    sample = Sample(*(None if tensor is None else tensor.cuda() for tensor in sample))
    by = Coefficients(*(tensor.cuda() for tensor in by))
    rows_SCPD, options = case.rows().cuda(), {"operands": case.operands}

    def run() -> None:
        swept = sweep_triton.sweep_forward(sample, rows_SCPD, case.objective, case.offset, keep=case.keep, **options)
        update = sweep_triton.SGDStep(MOMENTUM, lr)
        part = Part(sample, case.objective, case.offset, by, swept.kept, swept.inverse_R1)
        sweep_triton.sweep_backward([part], rows_SCPD, update, decay=DECAY, **options)

    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
        with torch.cuda.graph(graph):
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for rate in (LR, 0.1 * LR):
        rows_SCPD.copy_(case.rows())
        lr.fill_(rate)
        run()
        expected = rows_SCPD.clone()
        rows_SCPD.copy_(case.rows())
        graph.replay()
        assert torch.equal(rows_SCPD, expected)
    assert not torch.equal(expected.cpu(), step(case, "cuda")["rows"])
