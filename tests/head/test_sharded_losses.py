"""Every loss on the sharded head against its dense reference, over steps: 1 to 4 ranks, sampled, accumulated."""

import functools
from typing import NamedTuple

import pytest
import torch

from recognition.head import PartialFC
from recognition.head.losses import AdaFace, CurricularFace, MagFace, SubcenterArcFace, UniFace
from recognition.head.margins import CombinedMarginLoss
from recognition.head.reference import reference, reference_state
from recognition.head.rows import RowSGD
from recognition.head.sampling import Draw
from recognition.head.shards import class_range, num_sampled
from tests.ranks import run_ranks

WORLDS = [1, 2, 3, 4]
C, D, G, SEED, STEPS = 37, 8, 12, 2048, 3
# Momentum and decay of zero and a rate of 1: a step moves the centres by their gradient.
LR = 1.0
LOSSES = {
    "combined": (CombinedMarginLoss, {"s": 16.0, "m1": 1.1, "m2": 0.3, "m3": 0.2}),
    "adaface": (AdaFace, {"s": 16.0, "t_alpha": 0.5}),
    "magface": (MagFace, {"s": 16.0, "norms": (2.0, 12.0)}),
    "curricularface": (CurricularFace, {"s": 16.0, "t_alpha": 0.6}),
    "subcenter_arcface": (SubcenterArcFace, {"s": 16.0, "m1": 1.0, "m2": 0.5, "m3": 0.0, "subcenters": 3}),
    "uniface": (UniFace, {"s": 16.0, "num_classes": C}),
}


class Case(NamedTuple):
    loss: str
    rate: float = 1.0
    parts: int = 1
    mode: str = "recompute"

    def batch(self, number):
        generator = torch.Generator().manual_seed(number)
        emb_GD = torch.randn(G, D, dtype=torch.float64, generator=generator)
        emb_GD *= torch.linspace(0.3, 6, G, dtype=torch.float64)[:, None]
        return emb_GD, torch.randint(0, C, (G,), generator=generator)


CASES = {
    f"{loss}-{rate}-{parts}-{mode}": Case(loss, rate, parts, mode)
    for loss in LOSSES
    for rate, parts, mode in ((1.0, 1, "recompute"), (1.0, 2, "keep"), (0.3, 1, "keep"), (0.3, 2, "recompute"))
}


def run_case(case, runtime):
    """Per batch: loss, target cosine, gradient of the embeddings; per step: the centres; running state at the end."""
    kind, options = LOSSES[case.loss]
    objective = kind(**options).double()
    objective.load_state_dict(reference_state(case.loss, options))
    plain = RowSGD(momentum=0.0, weight_decay=0.0)
    head = PartialFC(
        objective, D, C, case.rate, runtime=runtime, seed=SEED, optimizer=plain, mode=case.mode, dtype=torch.float64
    )
    batches, centers = [], [head.weight.clone()]
    for step in range(STEPS):
        head.prepare(step, batch_size=G // runtime.world, batches=case.parts)
        for part in range(case.parts):
            emb_BD, labels_B = (x.chunk(runtime.world)[runtime.rank] for x in case.batch(step * case.parts + part))
            emb_BD = emb_BD.clone().requires_grad_()
            output = head(emb_BD, labels_B, step)
            (output.loss / case.parts).backward()
            batches.append((output.loss.detach(), output.target_cos, emb_BD.grad))
        head.update(LR)
        head.check()
        centers.append(head.weight.clone())
        for parameter in objective.parameters():
            parameter.data -= LR * parameter.grad
            parameter.grad = None
    return batches, centers, {key: value.clone() for key, value in objective.state_dict().items()}


def run_all(runtime):
    return {name: run_case(case, runtime) for name, case in CASES.items()}


@functools.cache
def sharded(world):
    return run_ranks(run_all, world)


def classes_of(case, step, world, labels_N):
    """Drawn classes of all ranks and the positives, sorted: what a batch sees of the classes."""
    if case.rate == 1:
        return None
    classes = [labels_N]
    for rank in range(world):
        start, count = class_range(C, world, rank)
        key = {"seed": SEED, "step": step, "rank": rank, "device": torch.device("cpu")}
        classes.append(start + Draw(count, num_sampled(count, case.rate), **key).on(key["device"]))
    return torch.cat(classes).unique()


def run_dense(case, world, start_CD):
    """As `run_case`, in plain autograd over all classes on one process."""
    options = LOSSES[case.loss][1]
    state = reference_state(case.loss, options)
    learned = {"uniface": ["b"]}.get(case.loss, [])
    centers_CD = start_CD.clone()
    batches, centers = [], [start_CD]
    for step in range(STEPS):
        centers_CD.requires_grad_().grad = None
        for key in learned:
            state[key] = state[key].detach().requires_grad_()
        seen = []
        for part in range(case.parts):
            emb_GD, labels_G = case.batch(step * case.parts + part)
            emb_GD.requires_grad_()
            seen.append(labels_G)
            classes_S = classes_of(case, step, world, torch.cat(seen))
            loss, target_cos, state = reference(case.loss, emb_GD, centers_CD, labels_G, state, options, classes_S)
            (loss / case.parts).backward()
            batches.append((loss.detach(), target_cos, emb_GD.grad))
        centers_CD = (centers_CD - LR * centers_CD.grad).detach()
        for key in learned:
            state[key] = (state[key] - LR * state[key].grad).detach()
        centers.append(centers_CD.clone())
    return batches, centers, state


def assert_near(actual, expected):
    assert (actual - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", CASES)
def test_steps_on_shards_are_steps_of_the_dense_model(name, world):
    ranks = [result[name] for result in sharded(world)]
    start_CD = torch.cat([centers[0] for _, centers, _ in ranks])
    batches, centers, state = run_dense(CASES[name], world, start_CD)
    for number, (loss, target_cos, grad_GD) in enumerate(batches):
        for found, _, _ in ranks:
            assert_near(found[number][0], loss)
            assert_near(found[number][1], target_cos)
        # A rank's embeddings carry the gradient of its own mean: W times their share of the global mean.
        assert_near(torch.cat([found[number][2] for found, _, _ in ranks]), world * grad_GD)
    for step, expected in enumerate(centers):
        assert_near(torch.cat([found[step] for _, found, _ in ranks]), expected)
    for _, _, found in ranks:
        assert found.keys() == state.keys()
        for key, value in state.items():
            assert_near(found[key], value.detach())
