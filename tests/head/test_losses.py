"""Every loss against the plain-autograd reference in fp64 over several steps, its published numbers, and its ends."""

from __future__ import annotations

import math

import pytest
import torch

from recognition.config import load_config
from recognition.errors import InputError
from recognition.head import CombinedMarginLoss
from recognition.head.losses import LOSSES, AdaFace, CurricularFace, MagFace, SubcenterArcFace, UniFace, build_objective
from recognition.head.losses.angular import add_angle
from recognition.head.reference import reference, reference_state
from tests.conftest import CONFIGS
from tests.head.dense import dense_step

G, D, C, STEPS = 24, 6, 11, 3
CLASSES = {
    "combined": CombinedMarginLoss,
    "subcenter_arcface": SubcenterArcFace,
    "adaface": AdaFace,
    "magface": MagFace,
    "curricularface": CurricularFace,
    "uniface": UniFace,
}
CASES = [
    ("combined", {"s": 16.0, "m1": 1.0, "m2": 0.5, "m3": 0.0}),
    ("combined", {"s": 64.0, "m1": 1.35, "m2": 0.2, "m3": 0.1, "interclass_filtering_threshold": 0.3}),
    ("combined", {"s": 16.0, "m1": 1.0, "m2": 0.5, "m3": 0.1, "margin_gradient": "straight_through"}),
    ("subcenter_arcface", {"s": 16.0, "m1": 1.0, "m2": 0.5, "m3": 0.0, "subcenters": 3}),
    ("subcenter_arcface", {"s": 30.0, "m1": 1.0, "m2": 0.0, "m3": 0.4, "subcenters": 2}),
    ("adaface", {"s": 16.0}),
    ("adaface", {"s": 64.0, "m": 0.5, "h": 0.5, "t_alpha": 0.9}),
    ("magface", {"s": 16.0}),
    ("magface", {"s": 64.0, "norms": (1.0, 51.0), "margins": (0.25, 1.6), "lambda_g": 20.0}),
    ("curricularface", {"s": 16.0}),
    ("curricularface", {"s": 64.0, "m": 0.3, "t_alpha": 0.7}),
    ("uniface", {"s": 16.0, "num_classes": C}),
    ("uniface", {"s": 64.0, "m": 0.1, "num_classes": C, "sample_rate": 0.5, "negative_weight": 0.7}),
]
IDS = [f"{name}-{number}" for number, (name, _) in enumerate(CASES)]
CONSTRUCTED = [AdaFace(64.0), MagFace(64.0), CurricularFace(64.0), SubcenterArcFace(64.0), UniFace(64.0, num_classes=9)]


def batch(step: int, subcenters: int = 1, classes: int = C, dtype: torch.dtype = torch.float64):
    """Embeddings whose targets lie near, far and opposite, of norms on both sides of all clips, and centres."""
    generator = torch.Generator().manual_seed(100 * step + subcenters)
    centers = torch.randn(classes * subcenters, D, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (G,), generator=generator)
    pull = torch.linspace(-4, 4, G, dtype=torch.float64)[torch.randperm(G, generator=generator)]
    emb = torch.randn(G, D, generator=generator, dtype=torch.float64) + pull[:, None] * centers[labels * subcenters]
    emb = torch.nn.functional.normalize(emb) * torch.logspace(-3.5, 2.5, G, dtype=torch.float64)[:, None]
    return emb.to(dtype), centers.to(dtype), labels


def close(got, expected, tolerance=1e-10):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def values(objective, cosines, norms=None, dtype=torch.float64):
    """Values of targets and their derivatives by the cosines."""
    cos = torch.tensor(cosines, dtype=dtype, requires_grad=True)
    value = objective.target(cos, None if norms is None else torch.tensor(norms, dtype=dtype))
    return value.detach(), torch.autograd.grad(value.sum(), cos)[0]


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_loss_gradients_and_statistics_equal_the_reference(name, options):
    objective = CLASSES[name](**options).double()
    state = reference_state(name, options)
    for key, stored in objective.state_dict().items():
        close(stored.float(), state[key].float(), 1e-7)
    objective.load_state_dict(state)
    for step in range(STEPS):
        emb, centers, labels = batch(step, options.get("subcenters", 1))
        got = dense_step(objective, emb, centers, labels)

        emb, centers = emb.requires_grad_(), centers.requires_grad_()
        parameters = {key: state[key].requires_grad_() for key, _ in objective.named_parameters()}
        loss, _, state = reference(name, emb, centers, labels, state, options)
        grads = torch.autograd.grad(loss, [emb, centers, *parameters.values()])

        close(got.loss, loss.detach())
        # Times the length: the shortest of 3e-4 would count for most otherwise.
        length = emb.detach().norm(dim=1, keepdim=True)
        close(got.grad_emb_GD * length, grads[0] * length)
        close(got.grad_centers_RD, grads[1])
        assert set(got.grad_parameters) == set(parameters)
        for key, grad in zip(parameters, grads[2:]):
            close(got.grad_parameters[key], grad)
        assert set(objective.state_dict()) == set(state)
        for key, stored in objective.state_dict().items():
            close(stored, state[key].detach(), 1e-12)
        state = {key: tensor.detach() for key, tensor in state.items()}


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_float32_agrees_with_float64(name, options):
    single, double = CLASSES[name](**options), CLASSES[name](**options).double()
    for step in range(STEPS):
        emb, centers, labels = batch(step, options.get("subcenters", 1))
        got = dense_step(single, emb.float(), centers.float(), labels)
        expected = dense_step(double, emb, centers, labels)
        close(got.loss.double(), expected.loss, 2e-5)
        # Slopes divide by sin(theta), of which a float32 cosine near 1 knows half the digits.
        close(got.grad_centers_RD.double(), expected.grad_centers_RD, 2e-3)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_the_state_dict_carries_on(name, options):
    objective = CLASSES[name](**options).double()
    first, second = batch(0, objective.subcenters), batch(1, objective.subcenters)
    dense_step(objective, *first)
    stored = {key: tensor.clone() for key, tensor in objective.state_dict().items()}
    expected = dense_step(objective, *second).loss
    other = CLASSES[name](**options).double()
    other.load_state_dict(stored)
    assert torch.equal(dense_step(other, *second).loss, expected)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_nothing_waits_for_the_device(name, options):
    # Meta tensors have no data: whatever reads a number from one, or a shape from its numbers, raises.
    objective = CLASSES[name](**options).to("meta")
    cos_G, norm_G, cos_GN = (torch.empty(shape, device="meta") for shape in (G, G, (G, C)))
    objective.observe(norm_G, cos_G)
    value_G = objective.target(cos_G.requires_grad_(), norm_G.requires_grad_())
    value_G.sum().backward()
    offset = objective.offset(C, torch.float32)
    slope_GN = objective.others_(cos_GN, value_G.detach())
    assert slope_GN is None or slope_GN.shape == (G, C)
    sums_GQ = objective.weigh_(cos_GN, offset)
    closed = objective.close(sums_GQ, value_G.detach(), offset)
    assert all(tensor.shape == (G,) for tensor in closed)
    objective.parameter_term(sums_GQ, value_G.detach(), offset)
    objective.regulariser(norm_G)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_class_and_cosines_of_one_give_finite_numbers(name, options, dtype):
    objective = CLASSES[name](**options).to(dtype)
    eye = torch.eye(D, dtype=dtype)
    emb, labels = torch.cat([eye[:1], -eye[:1]]) * 20, torch.zeros(2, dtype=torch.int64)
    got = dense_step(objective, emb, eye[:1].repeat(objective.subcenters, 1), labels, blocks=1)
    softmax_loss = got.loss - (objective.regulariser(emb.norm(dim=1)) or 0)
    if name == "uniface":
        z_G = objective.s * got.value_G - objective.b.detach()
        close(got.loss, torch.log1p(torch.exp(-z_G)).mean(), 1e-6)
    else:
        close(softmax_loss, torch.zeros((), dtype=dtype), 1e-6)
        assert not got.grad_centers_RD.any()
    two = eye[:2].repeat_interleave(objective.subcenters, 0)
    for result in (got, dense_step(objective, emb, two, labels)):
        assert torch.isfinite(result.loss)
        assert torch.isfinite(result.grad_emb_GD).all()
        assert torch.isfinite(result.grad_centers_RD).all()


def test_an_added_angle_falls_on_past_pi():
    cos = torch.linspace(-1, 1, 201, dtype=torch.float64)
    for angle in (0.0, 0.5, 3.0):
        value, by_cos, by_angle = add_angle(cos, torch.full_like(cos, angle))
        phi = torch.acos(cos) + angle
        expected = [math.cos(p) if p <= math.pi else -2 - math.cos(p) for p in phi.tolist()]
        close(value, torch.tensor(expected, dtype=torch.float64), 1e-14)
        assert (value.diff() >= 0).all()
        higher, *_ = add_angle(cos, torch.full_like(cos, angle + 1e-6))
        close((higher - value) / 1e-6, by_angle, 2e-6)
        inner = slice(20, -20)
        moved = [add_angle(cos[inner] + d, torch.full_like(cos[inner], angle))[0] for d in (-1e-6, 1e-6)]
        close((moved[1] - moved[0]) / 2e-6, by_cos[inner], 2e-6)


def test_adaface_turns_from_the_angular_to_the_additive_margin():
    objective = AdaFace(64.0, m=0.4, h=0.333).double()
    objective.norm_mean.fill_(20)
    objective.norm_std.fill_(5 - 1e-3)
    # Three deviations times h is 0.999: one more goes past the clip.
    value, slope = values(objective, [0.5, 0.5, 0.5], [20.0 - 20, 20.0, 20.0 + 20])
    theta = math.pi / 3
    expected = [math.cos(theta + 0.4), 0.5 - 0.4, math.cos(theta - 0.4) - 0.8]
    close(value, torch.tensor(expected, dtype=torch.float64), 1e-14)
    slopes = [math.sin(theta + shift) / math.sin(theta) for shift in (0.4, 0.0, -0.4)]
    close(slope, torch.tensor(slopes, dtype=torch.float64), 1e-14)
    # One deviation above the mean is a quality of h.
    value, _ = values(objective, [0.5], [25.0])
    expected = math.cos(theta - 0.4 * 0.333) - 0.4 * 1.333
    close(value, torch.tensor([expected], dtype=torch.float64), 1e-14)
    # Past either end of [0, pi] the cosine stands still.
    value, slope = values(objective, [math.cos(0.3), math.cos(3.0)], [40.0, 0.0])
    close(value, torch.tensor([1 - 0.8, -1.0], dtype=torch.float64), 1e-14)
    close(slope, torch.zeros(2, dtype=torch.float64), 1e-14)


def test_adaface_averages_clipped_norms_over_batches():
    objective = AdaFace(64.0).double()
    assert (objective.norm_mean, objective.norm_std) == (20, 100)
    objective.observe(torch.tensor([0.0, 500.0], dtype=torch.float64), None)
    low, high = 0.001, 100.0
    deviation = (high - low) / math.sqrt(2)
    close(objective.norm_mean.item(), 0.99 * 20 + 0.01 * (low + high) / 2, 1e-13)
    close(objective.norm_std.item(), 0.99 * 100 + 0.01 * deviation, 1e-13)
    objective.observe(torch.tensor([30.0], dtype=torch.float64), None)
    assert torch.isfinite(objective.norm_std)
    assert objective.state_dict().keys() == {"norm_mean", "norm_std"}


def test_the_norm_has_no_gradient_in_adaface_and_one_in_magface():
    norm = torch.tensor([30.0], dtype=torch.float64, requires_grad=True)
    cos = torch.tensor([0.5], dtype=torch.float64)
    assert not AdaFace(64.0).target(cos, norm).requires_grad
    # -sin(theta + m) times dm/da = 0.35 / 100.
    MagFace(64.0).target(cos, norm).backward()
    margin = 0.45 + 0.35 * 20 / 100
    close(norm.grad.item(), -math.sin(math.pi / 3 + margin) * 0.0035, 1e-14)


def test_magface_margin_runs_from_one_clip_to_the_other():
    objective = MagFace(64.0)
    norm = torch.tensor([1.0, 10.0, 60.0, 110.0, 500.0], dtype=torch.float64, requires_grad=True)
    margin = objective.margin(norm)
    close(margin, torch.tensor([0.45, 0.45, 0.625, 0.8, 0.8], dtype=torch.float64), 1e-14)
    (slope,) = torch.autograd.grad(margin.sum(), norm)
    close(slope[[0, 2, 4]], torch.tensor([0, 0.0035, 0], dtype=torch.float64), 1e-14)
    value, _ = values(objective, [0.5, 0.5], [10.0, 200.0])
    expected = [math.cos(math.pi / 3 + 0.45), math.cos(math.pi / 3 + 0.8)]
    close(value, torch.tensor(expected, dtype=torch.float64), 1e-14)


def test_magface_regulariser_is_lowest_at_the_largest_norm():
    objective = MagFace(64.0, lambda_g=2.0)
    norm = torch.tensor([10.0, 50.0, 109.999999], dtype=torch.float64, requires_grad=True)
    term = objective.regulariser(norm)
    g = [1 / a + a / 110**2 for a in (10.0, 50.0, 109.999999)]
    close(term.item(), 2 * sum(g) / 3, 1e-14)
    term.backward()
    assert (norm.grad[:2] < 0).all()
    assert norm.grad[2].abs() < 1e-11
    far = torch.tensor([5.0, 300.0], dtype=torch.float64, requires_grad=True)
    objective.regulariser(far).backward()
    assert not far.grad.any()


def test_curricularface_raises_only_what_beats_the_target():
    objective = CurricularFace(64.0).double()
    objective.t.fill_(0.2)
    cos = torch.tensor([[0.5, 0.3, -0.1, 0.4]], dtype=torch.float64)
    slope = objective.others_(cos, torch.tensor([0.4], dtype=torch.float64))
    close(cos, torch.tensor([[0.5 * 0.7, 0.3, -0.1, 0.4]], dtype=torch.float64), 1e-15)
    close(slope, torch.tensor([[1.2, 1, 1, 1]], dtype=torch.float64), 1e-15)


def test_curricularface_t_has_the_batch_in_it_before_it_is_used():
    objective = CurricularFace(64.0).double()
    cos = torch.tensor([0.2, 0.6], dtype=torch.float64)
    for step in range(1, 4):
        objective.observe(None, cos)
        close(objective.t.item(), 0.4 * (1 - 0.99**step), 1e-15)


def test_curricularface_with_easy_classes_alone_is_arcface():
    generator = torch.Generator().manual_seed(0)
    centers = torch.eye(4, dtype=torch.float64)
    emb = 3 * (centers + 0.05 * torch.randn(4, 4, generator=generator, dtype=torch.float64))
    curricular = dense_step(CurricularFace(16.0).double(), emb, centers, torch.arange(4))
    arcface = dense_step(CombinedMarginLoss(16.0, 1, 0.5, 0), emb, centers, torch.arange(4))
    for got, expected in zip(curricular[:3], arcface[:3]):
        close(got, expected, 1e-14)


@pytest.mark.parametrize(
    ("t", "target", "wrong"),
    # All hard at the ends of what t and cosines can be; all easy, as low as they may lie.
    [(t, -1.5, wrong) for t in (-0.9, 0.0, 0.5, 1.0) for wrong in (-1.0, 0.0, 1.0)]
    + [(0.0, 0.0, -1.0), (0.0, -1.0, -1.0), (0.7, 0.9, -0.5), (0.7, -0.5, -0.5), (1.0, 0.9, -0.2)],
)
def test_curricularface_sums_neither_overflow_nor_vanish_in_float32(t, target, wrong):
    classes, objective = 1_000_000, CurricularFace(64.0)
    objective.t.fill_(t)
    assert objective.sum_dtype(classes, torch.float32) == torch.float32
    offset, value = objective.offset(classes, torch.float32), torch.tensor([target])
    assert offset.shape == ()
    cos = torch.tensor([[wrong]])
    objective.others_(cos, value)
    sums = objective.weigh_(cos, offset) * (classes - 1)
    closed = objective.close(sums, value, offset)
    # Summed over a million rows, and divided by a sum, as gradients are.
    assert torch.isfinite(sums * 1e6).all()
    assert torch.isfinite(closed.scale_G * 64).all()
    assert (closed.scale_G < torch.finfo(torch.float32).max / 2**16).all()
    logit = wrong * (t + wrong) if wrong > target else wrong
    exact = 64 * (logit - target) + math.log(classes)
    close(closed.loss_G.item(), exact if exact > 50 else math.log1p(math.exp(exact)), 1e-4)


def test_curricularface_leaves_a_sample_alone_whose_sum_has_vanished():
    objective = CurricularFace(64.0)
    objective.t.fill_(1.0)
    offset, value = objective.offset(1_000_000, torch.float32), torch.tensor([-0.5])
    sums = objective.weigh_(torch.tensor([[-0.9]]), offset)
    closed = objective.close(sums, value, offset)
    assert sums.item() == closed.loss_G.item() == (64 * closed.scale_G * closed.target_G).item() == 0


def test_curricularface_at_a_huge_scale_asks_for_float64():
    assert CurricularFace(200.0).sum_dtype(1000, torch.float32) == torch.float64


def test_subcenter_loss_is_that_of_the_nearest_centres():
    emb, centers, labels = batch(0, 3)
    options = {"s": 16.0, "m1": 1.0, "m2": 0.5, "m3": 0.0}
    got = dense_step(SubcenterArcFace(**options, subcenters=3), emb, centers, labels)
    x, unit = torch.nn.functional.normalize(emb), torch.nn.functional.normalize(centers)
    cos = (x @ unit.T).reshape(G, C, 3)
    losses = []
    for row, label in zip(cos.tolist(), labels.tolist()):
        best = [max(each) for each in row]
        phi = math.acos(best[label]) + 0.5
        target = math.cos(phi) if phi <= math.pi else -2 - math.cos(phi)
        total = sum(math.exp(16 * (c - target)) for j, c in enumerate(best) if j != label)
        losses.append(math.log1p(total))
    close(got.loss.item(), sum(losses) / G, 1e-12)
    # A centre that is the nearest of its class to nobody has no gradient.
    idle = torch.ones(C * 3, dtype=torch.bool)
    idle[(cos.argmax(2) + 3 * torch.arange(C)).unique()] = False
    assert not got.grad_centers_RD[idle].any()
    assert SubcenterArcFace(64.0).subcenters == 3


def test_uniface_starts_at_the_published_threshold_and_sums_sigmoids():
    objective = UniFace(64.0, num_classes=1000, sample_rate=0.1).double()
    assert objective.b.item() == pytest.approx(math.log(1000), rel=1e-7)
    assert [name for name, _ in objective.named_parameters()] == ["b"]
    cos = torch.tensor([[0.3, -torch.inf, -0.2]], dtype=torch.float64)
    offset = objective.offset(1000, torch.float64)
    z = [64 * c - objective.b.item() for c in (0.3, -0.2)]
    sums = objective.weigh_(cos, offset)
    softplus, sigmoid = sum(math.log1p(math.exp(v)) for v in z), sum(1 / (1 + math.exp(-v)) for v in z)
    close(sums, torch.tensor([[softplus, sigmoid]], dtype=torch.float64), 1e-13)
    assert cos[0, 1] == 0
    # An offset that was taken stays when b moves on.
    with torch.no_grad():
        objective.b.add_(1)
    assert offset != objective.b


@pytest.mark.parametrize(
    "build",
    [
        lambda: AdaFace(0.0),
        lambda: AdaFace(64, m=2),
        lambda: AdaFace(64, h=0),
        lambda: AdaFace(64, t_alpha=0),
        lambda: AdaFace(64, m=math.nan),
        lambda: MagFace(64, norms=(110, 10)),
        lambda: MagFace(64, norms=(0, 10)),
        lambda: MagFace(64, margins=(0.8, 0.4)),
        lambda: MagFace(64, margins=(0.8, 4)),
        lambda: MagFace(64, lambda_g=-1),
        lambda: CurricularFace(64, m=4),
        lambda: CurricularFace(64, t_alpha=1.5),
        lambda: SubcenterArcFace(64, subcenters=0),
        lambda: SubcenterArcFace(64, m1=-1),
        lambda: UniFace(64, m=-1, num_classes=10),
        lambda: UniFace(64, negative_weight=0, num_classes=10),
        lambda: UniFace(64, num_classes=0),
    ],
)
def test_bad_numbers_are_refused_in_one_line(build):
    with pytest.raises(InputError) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LOSSES)
def test_the_config_chooses_the_loss_with_the_published_numbers(name):
    objective = build_objective(load_config(CONFIGS / "ms1mv3_r50.py", [f"loss={name}"]))
    assert type(objective) is CLASSES[name]
    published = {type(loss): repr(loss) for loss in CONSTRUCTED} | {
        CombinedMarginLoss: repr(CombinedMarginLoss(64.0, 1.0, 0.5, 0.0))
    }
    assert repr(objective) == published[type(objective)]
    if name == "uniface":
        assert objective.b.item() == pytest.approx(math.log(10 * 93_431), rel=1e-6)
