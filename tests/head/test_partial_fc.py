"""The sharded head against the dense reference: every number of ranks, margin, sample rate and shard that is odd."""

import functools
import itertools
import math
from collections import Counter
from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recognition import collectives
from recognition.errors import InputError
from recognition.head import CombinedMarginLoss, PartialFC
from recognition.head.initial import initial_rows
from recognition.head.objective import sum_range
from recognition.head.reference import reference_loss
from recognition.head.rows import RowSGD
from recognition.head.sampling import Draw
from recognition.head.shards import class_range, num_sampled
from recognition.runtime import Runtime
from tests.ranks import run_ranks

WORLDS = [1, 2, 3, 4]
# One step of it at rate 1 moves the centres by their gradient.
PLAIN = RowSGD(momentum=0.0, weight_decay=0.0)
D, G, SEED, STEP = 16, 12, 2048, 7
ARCFACE, COSFACE = {"m1": 1.0, "m2": 0.5, "m3": 0.0}, {"m1": 1.0, "m2": 0.0, "m3": 0.4}
SPHEREFACE, COMBINED = {"m1": 1.35, "m2": 0.0, "m3": 0.0}, {"m1": 1.1, "m2": 0.3, "m3": 0.2}


class Case(NamedTuple):
    num_classes: int = 101
    margin: dict = ARCFACE
    rate: float = 1.0
    labels: str = "any"
    s: float = 64.0
    # 0.1 on random embeddings of size 16 filters about a third of all cosines.
    filter: float = 0.0
    gradient: str = "exact"
    dtype: torch.dtype = torch.float64
    mode: str = "recompute"

    def head(self, runtime, **options):
        options = {"optimizer": PLAIN, "mode": self.mode, "dtype": self.dtype, "seed": SEED, **options}
        margin_loss = CombinedMarginLoss(**self.loss_options)
        return PartialFC(margin_loss, D, self.num_classes, self.rate, runtime=runtime, **options)

    @property
    def loss_options(self):
        threshold = {"interclass_filtering_threshold": self.filter, "margin_gradient": self.gradient}
        return {"s": self.s, **self.margin, **threshold}

    def batch(self):
        generator = torch.Generator().manual_seed(self.num_classes)
        emb_GD = 3 * torch.randn(G, D, dtype=torch.float64, generator=generator).to(self.dtype)
        labels_G = torch.randint(0, self.num_classes, (G,), generator=generator)
        # "first": all positives in the first shard, "one": every sample of one class.
        return emb_GD, {"any": labels_G, "first": labels_G % 3, "one": torch.full((G,), 5), "zero": labels_G * 0}[
            self.labels
        ]


CASES = {
    **{
        f"{name}-{num_classes}-{'fp32' if dtype == torch.float32 else 'fp64'}": Case(num_classes, margin, dtype=dtype)
        for name, margin in {"arc": ARCFACE, "cos": COSFACE, "sphere": SPHEREFACE, "all": COMBINED}.items()
        for num_classes in (101, 7, 3)
        for dtype in (torch.float32, torch.float64)
    },
    "sampled-0.3": Case(rate=0.3),
    "sampled-0.3-fp32": Case(rate=0.3, margin=COSFACE, dtype=torch.float32),
    "sampled-fewer-than-positives": Case(rate=0.03),
    "sampled-7": Case(7, rate=0.5, margin=SPHEREFACE),
    "sampled-empty-shards": Case(3, rate=0.5, margin=COMBINED),
    "ranks-without-positives": Case(labels="first"),
    "sampled-ranks-without-positives": Case(labels="first", rate=0.2),
    "ranks-without-positives-fp32": Case(labels="first", dtype=torch.float32),
    "one-class-in-the-batch": Case(labels="one"),
    "one-class-at-all": Case(1),
    "two-classes-one-sampled": Case(2, rate=0.5, labels="zero"),
    "filter": Case(filter=0.1),
    "filter-sampled": Case(filter=0.1, rate=0.3, margin=COSFACE),
    "straight-through": Case(gradient="straight_through"),
    "straight-through-fp32": Case(gradient="straight_through", dtype=torch.float32),
    "small-scale": Case(s=1.5, margin=COMBINED),
    "huge-scale": Case(s=400.0),
}


def gradients(head, emb_BD, labels_B):
    """Loss, target cosine, gradient of the embeddings, gradient of this shard's centres."""
    emb_BD = emb_BD.clone().requires_grad_()
    before_KD = head.weight.clone()
    loss, target_cos = head(emb_BD, labels_B, STEP)
    loss.backward()
    head.update(1.0)
    head.check()
    return loss.detach(), target_cos, emb_BD.grad, before_KD - head.weight


def run_cases(runtime):
    results = {}
    for name, case in CASES.items():
        emb_GD, labels_G = (tensor.chunk(runtime.world)[runtime.rank] for tensor in case.batch())
        results[name] = gradients(case.head(runtime), emb_GD, labels_G)
    return results


@functools.cache
def sharded(world):
    return run_ranks(run_cases, world)


def sampled_union(case, labels_G, world):
    """The classes that all ranks together use, replayed from the draw, in global numbers: drawn ones and positives."""
    parts = [labels_G]
    for rank in range(world):
        start, count = class_range(case.num_classes, world, rank)
        if num_sampled(count, case.rate) == count:
            parts.append(torch.arange(start, start + count))
            continue
        key = {"seed": SEED, "step": STEP, "rank": rank, "device": torch.device("cpu")}
        parts.append(start + Draw(count, num_sampled(count, case.rate), **key).on(key["device"]))
    return torch.cat(parts).unique()


def initial_centers(first, count, embedding_size=D, *, seed=SEED):
    return initial_rows(torch.arange(first, first + count), embedding_size, seed=seed)


def dense(case, world):
    """The reference in float64, from the numbers that the case begins with."""
    emb_GD, labels_G = case.batch()
    emb_GD = emb_GD.double().requires_grad_()
    centers_CD = initial_centers(0, case.num_classes).double().requires_grad_()
    classes_S = sampled_union(case, labels_G, world) if case.rate < 1 else None
    loss, target_cos = reference_loss(emb_GD, centers_CD, labels_G, **case.loss_options, classes_S=classes_S)
    loss.backward()
    return loss.detach(), target_cos, emb_GD.grad, centers_CD.grad


def assert_near(actual, expected, dtype):
    """Largest difference relative to the largest number, in units that the format can hold."""
    assert actual.shape == expected.shape
    assert (actual.dtype, expected.dtype) == (dtype, torch.float64)
    # A float32 cosine is off by up to 2^-24, and s = 64 times that is how far its exponential is: processors that add
    # up in another order differ by as much.
    limit = 64 * 2**-24 if dtype == torch.float32 else 2e-13
    assert (actual.double() - expected).abs().max() <= limit * expected.abs().max()


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", CASES)
def test_loss_and_all_gradients_equal_the_dense_reference(name, world):
    case = CASES[name]
    loss, target_cos, emb_grad_GD, centers_grad_CD = dense(case, world)
    results = [result[name] for result in sharded(world)]
    for rank_loss, rank_cos, _, _ in results:
        assert_near(rank_loss, loss, case.dtype)
        assert_near(rank_cos, target_cos, case.dtype)
    # A rank's embeddings carry the gradient of its own mean: W times their share of the global mean.
    assert_near(torch.cat([result[2] for result in results]), world * emb_grad_GD, case.dtype)
    assert_near(torch.cat([result[3] for result in results]), centers_grad_CD, case.dtype)


def test_the_filter_and_the_sample_really_bite():
    filtered, sampled, plain = (dense(CASES[name], 2)[0] for name in ("filter", "sampled-0.3", "arc-101-fp64"))
    assert abs(filtered - plain) > 0.1
    assert abs(sampled - plain) > 0.1


def step_under_ddp(runtime, images_GI, labels_G):
    torch.manual_seed(0)
    backbone = nn.Linear(images_GI.shape[1], D).double()
    replica = DistributedDataParallel(backbone) if runtime.world > 1 else backbone
    head = CASES["arc-101-fp64"].head(runtime)
    mine = slice(runtime.rank * len(labels_G) // runtime.world, (runtime.rank + 1) * len(labels_G) // runtime.world)
    head(replica(images_GI[mine]), labels_G[mine], STEP).loss.backward()
    torch.optim.SGD(backbone.parameters(), lr=0.1).step()
    head.update(0.1)
    return backbone.weight.detach(), head.weight.detach()


@pytest.mark.parametrize("world", WORLDS)
def test_a_step_under_ddp_is_a_step_of_the_dense_model(world):
    images_GI = torch.randn(G, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels_G = CASES["arc-101-fp64"].batch()[1]
    results = run_ranks(step_under_ddp, world, images_GI, labels_G)

    torch.manual_seed(0)
    backbone = nn.Linear(5, D).double()
    centers_CD = nn.Parameter(initial_centers(0, 101).double())
    reference_loss(backbone(images_GI), centers_CD, labels_G, s=64, **ARCFACE)[0].backward()
    before = backbone.weight.detach().clone()
    torch.optim.SGD([*backbone.parameters(), centers_CD], lr=0.1).step()
    assert (backbone.weight - before).abs().max() > 1e-3
    for weight, _ in results:
        assert_near(weight, backbone.weight.detach(), torch.float64)
    assert_near(torch.cat([shard for _, shard in results]), centers_CD.detach(), torch.float64)


def confident_step(runtime):
    head = PartialFC(CombinedMarginLoss(64, 1, 0, 0.1), 8, 8, runtime=runtime)
    with torch.no_grad():
        head.weight.copy_(3 * torch.eye(8)[head.class_start : head.class_start + head.num_local])
    emb_BD = torch.eye(8).chunk(runtime.world)[runtime.rank].clone().requires_grad_()
    loss = head(emb_BD, torch.arange(8).chunk(runtime.world)[runtime.rank], 0).loss
    loss.backward()
    return loss.detach(), emb_BD.grad


@pytest.mark.parametrize("world", [1, 2])
def test_a_target_that_dominates_keeps_its_digits(world):
    # Every sample sits on its centre, all centres are orthogonal: the loss is log(1 + 7 e^(-64 * 0.9)), about 1e-24.
    p = 7 * math.exp(-64 * 0.9)
    for rank, (loss, grad_BD) in enumerate(run_ranks(confident_step, world)):
        assert loss.item() == pytest.approx(p, rel=2e-5)
        rows = torch.arange(8).chunk(world)[rank]
        expected = torch.full((8, 8), 64 * p / 7 / len(rows)).fill_diagonal_(0)[rows]
        torch.testing.assert_close(grad_BD, expected, rtol=2e-5, atol=0)


@pytest.mark.parametrize(("scale", "expected"), [(1.0, torch.float32), (64.0, torch.float32), (300.0, torch.float64)])
@pytest.mark.parametrize("num_classes", [1, 1000, 10**9])
def test_sums_of_exponentials_stay_in_range(scale, num_classes, expected):
    dtype, offset = sum_range(scale, num_classes, torch.float32)
    info = torch.finfo(dtype)
    assert scale - offset + math.log(num_classes) < math.log(info.max) - 10
    assert -scale - offset > math.log(info.tiny)
    assert dtype == expected


@pytest.mark.parametrize("scale", [64.0, 300.0])
@pytest.mark.parametrize("cos", [1.0, -1.0])
def test_extreme_cosines_neither_overflow_nor_vanish(scale, cos):
    head = PartialFC(CombinedMarginLoss(scale, 1, 0, 0), 4, 1000, runtime=Runtime())
    with torch.no_grad():
        head.weight.copy_(torch.tensor([cos, 0, 0, 0]).expand(1000, 4))
    emb_BD = torch.tensor([[2.0, 0, 0, 0]], requires_grad=True)
    loss = head(emb_BD, torch.tensor([3]), 0).loss
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1000), rel=1e-6)
    assert torch.isfinite(emb_BD.grad).all()
    head.update(0.1)
    head.check()
    assert torch.isfinite(head.weight).all()


def count_collectives(runtime):
    calls = Counter()

    def counted(name, call):
        def wrapper(*args, **options):
            calls[name] += 1
            return call(*args, **options)

        return wrapper

    collectives._gather_into = counted("gather", collectives._gather_into)
    collectives._scatter_sum_into = counted("scatter", collectives._scatter_sum_into)
    dist.all_reduce = counted("sum", dist.all_reduce)
    head = PartialFC(CombinedMarginLoss(64, **ARCFACE), D, 101, 0.5, runtime=runtime)
    emb_BD = torch.randn(3, D, requires_grad=True)
    head(emb_BD, torch.tensor([1, 2, 100]), 0).loss.backward()
    head.update(0.1)
    return dict(calls)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_number_of_collectives_does_not_grow_with_the_ranks(world):
    assert run_ranks(count_collectives, world) == [{"gather": 2, "scatter": 1}] * world


def bad_batch(runtime, kind):
    """The error, and what the step made of the backbone's gradient and of the centres."""
    head = CASES["arc-101-fp32"].head(runtime)
    emb_BD, labels_B = torch.randn(4, D), torch.tensor([0, 1, 2, 100])
    if runtime.rank == runtime.world - 1:
        if kind in (101, -1, 2**31):
            labels_B[2] = kind
        else:
            emb_BD[2, 5] = kind
    emb_BD.requires_grad_()
    head(emb_BD * 1.0, labels_B, 0).loss.backward()
    head.update(0.1)
    head(torch.randn(4, D), torch.tensor([0, 1, 2, 101]), 1)  # only the first bad batch counts
    good = torch.arange(4) != 2
    is_sane = bool(torch.isfinite(head.weight).all() and torch.isfinite(emb_BD.grad[good]).all())
    try:
        head.check()
    except InputError as error:
        return str(error), is_sane


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("kind", [101, -1, 2**31, math.nan, math.inf, -math.inf])
def test_a_bad_sample_of_one_rank_is_the_same_error_on_all(kind, world):
    messages, are_sane = zip(*run_ranks(bad_batch, world, kind))
    assert all(are_sane)
    assert len(set(messages)) == 1
    label = kind if isinstance(kind, int) else 2
    assert messages[0].startswith(f"rank {world - 1}, sample 2 of its batch, label {label}: ")
    assert ("[0, 101)" if isinstance(kind, int) else "not finite") in messages[0]
    assert "\n" not in messages[0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"sample_rate": 0}, "sample_rate=0"),
        ({"sample_rate": 1.01}, "sample_rate=1.01"),
        ({"sample_rate": math.nan}, "sample_rate=nan"),
        ({"embedding_size": 0}, "embedding_size=0"),
        ({"objective": CombinedMarginLoss(5000, 1, 0, 0)}, "scale=5000"),
        ({"mode": "both"}, "head_mode='both'"),
        ({"operands": "fp8"}, "head_operands='fp8'"),
        ({"centers": "disk"}, "centers='disk'"),
    ],
)
def test_a_head_that_cannot_work_is_refused(change, named):
    good = {"objective": CombinedMarginLoss(64, 1, 0, 0), "embedding_size": D, "num_classes": 10, "sample_rate": 1.0}
    with pytest.raises(InputError, match=named):
        PartialFC(**{**good, **change}, runtime=Runtime())


def test_autocast_around_the_head_does_not_reach_it():
    emb_GD, labels_G = CASES["arc-101-fp32"].batch()
    head = PartialFC(CombinedMarginLoss(64, **ARCFACE), D, 101, runtime=Runtime(), seed=SEED)
    plain = head(emb_GD, labels_G, 0).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(emb_GD, labels_G, 0).loss, plain)
        assert head(emb_GD.bfloat16(), labels_G, 0).loss.dtype == torch.float32


def shards(runtime):
    head = CASES["arc-7-fp32"].head(runtime)
    return head.class_start, head.num_local, head.weight.clone()


def test_ranks_start_from_the_same_centres_together():
    found = run_ranks(shards, 3)
    assert [(start, count) for start, count, _ in found] == [(0, 3), (3, 2), (5, 2)]
    assert torch.equal(torch.cat([shard for _, _, shard in found]), initial_centers(0, 7))


def whole_shard(runtime):
    return CASES["arc-101-fp32"].head(runtime).weight.clone()


@pytest.mark.parametrize("world", WORLDS)
def test_shards_begin_differently_but_together_alike_for_any_number_of_ranks(world):
    found = run_ranks(whole_shard, world)
    assert torch.equal(torch.cat(found), initial_centers(0, 101))
    shortest = min(map(len, found))
    for first, second in itertools.combinations(found, 2):
        assert (first[:shortest] != second[:shortest]).float().mean() > 0.99


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["arc-101-fp32", "all-101-fp64", "sampled-0.3", "filter"])
def test_one_gpu_equals_the_dense_reference(name):
    case = CASES[name]
    emb_GD, labels_G = (tensor.cuda() for tensor in case.batch())
    head = case.head(Runtime(device=torch.device("cuda")), operands="fp32")
    for value, expected in zip(gradients(head, emb_GD, labels_G), dense(case, 1)):
        assert_near(value.cpu(), expected, case.dtype)
