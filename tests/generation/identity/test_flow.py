"""Flow matching against its definitions: the distribution of times, a constant velocity, Euler by hand."""

import numpy as np
import pytest
import torch
from scipy import stats

from generation.identity.flow import flow_loss, noised, sample_t, time_weight, unrolled_estimate, velocity, x0_estimate
from recognition.errors import InputError


def pair(count=5, seed=0, dtype=torch.float32, shape=(4, 6, 6)):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, *shape, generator=generator, dtype=dtype) for _ in range(2))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.6, 1.7)])
def test_logits_of_times_are_normal(mean, std):
    t_B = sample_t(20_000, mean=mean, std=std, generator=torch.Generator().manual_seed(3)).double().numpy()
    assert t_B.min() > 0
    assert t_B.max() < 1
    logits = np.log(t_B / (1 - t_B))
    assert stats.kstest(logits, stats.norm(mean, std).cdf).pvalue > 0.01
    # So many draws would tell a mean that is off by a tenth of the deviation, and a deviation by a tenth of itself.
    assert stats.kstest(logits, stats.norm(mean + 0.1 * std, std).cdf).pvalue < 1e-6
    assert stats.kstest(logits, stats.norm(mean, 1.1 * std).cdf).pvalue < 1e-6


def test_times_follow_the_seed_and_are_not_those_of_the_global_one():
    again = [sample_t(9, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])


def test_a_negative_deviation_of_times_is_refused():
    with pytest.raises(InputError, match=r"std=-1 .* below 0"):
        sample_t(4, std=-1)


def test_noised_goes_from_data_to_noise():
    x0, x1 = pair()
    assert torch.equal(noised(x0, x1, torch.zeros(5)), x0)
    assert torch.equal(noised(x0, x1, torch.ones(5)), x1)
    t_B = torch.tensor([0.25, 0.5, 0.5, 0.75, 1.0])
    assert torch.allclose(noised(x0, x1, t_B)[0], 0.75 * x0[0] + 0.25 * x1[0])


@pytest.mark.parametrize("shape", [(4, 6, 6), (9, 16), (7,)])
def test_the_estimate_is_the_data_when_the_prediction_is_right(shape):
    x0, x1 = pair(shape=shape)
    t_B = sample_t(5, generator=torch.Generator().manual_seed(0))
    found = x0_estimate(noised(x0, x1, t_B), velocity(x0, x1), t_B)
    # x_t is rounded once and t * v once: a few units in the last place of the largest value met on the way.
    assert (found - x0).abs().max() < 4 * 2**-24 * max(x0.abs().max(), x1.abs().max())


def test_the_estimate_asks_for_one_time_a_sample():
    x0, x1 = pair()
    with pytest.raises(InputError, match=r"\(4,\) times for \(5, 4, 6, 6\) samples"):
        x0_estimate(x0, x1, torch.zeros(4))


def predictor(weight):
    """A velocity field that depends on place and time, so that every step counts."""
    return lambda x, t_B: torch.tanh(x * weight) * (1 + t_B.reshape(-1, 1, 1, 1))


def test_one_step_equals_the_estimate_and_a_given_prediction_saves_the_call():
    x_t, _ = pair()
    t_B = torch.tensor([0.1, 0.4, 0.5, 0.8, 0.99])
    predict, calls = predictor(0.7), []
    pred = predict(x_t, t_B)

    def counted(x, t_B):
        calls.append(t_B)
        return predict(x, t_B)

    assert torch.equal(unrolled_estimate(counted, x_t, t_B), x0_estimate(x_t, pred, t_B))
    assert torch.equal(unrolled_estimate(counted, x_t, t_B, pred=pred), x0_estimate(x_t, pred, t_B))
    assert len(calls) == 1
    unrolled_estimate(counted, x_t, t_B, steps=4, pred=pred)
    assert torch.allclose(torch.stack(calls[1:]), torch.stack([t_B * share for share in (0.75, 0.5, 0.25)]))


def test_many_steps_come_to_the_solution_of_the_equation():
    """dx/dt = x has x(0) = x(t) exp(-t); Euler's error is t^2 / (2 k) of it to first order."""
    x_t, t_B = torch.ones(3, 1, dtype=torch.float64), torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
    exact = torch.exp(-t_B)[:, None]
    errors = [(unrolled_estimate(lambda x, t: x, x_t, t_B, steps=k) / exact - 1).abs() for k in (50, 100)]
    assert torch.allclose(errors[0], t_B[:, None] ** 2 / 100, rtol=0.05)
    assert torch.allclose(errors[0] / errors[1], torch.tensor(2.0, dtype=torch.float64), rtol=0.02)


@pytest.mark.parametrize("gradient", ["all", "last"])
def test_gradient_through_all_steps_or_the_last(gradient):
    x_t, _ = pair(dtype=torch.float64)
    t_B = torch.linspace(0.2, 0.9, 5, dtype=torch.float64)
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    fixed = torch.tensor(0.7, dtype=torch.float64)
    unrolled_estimate(predictor(weight), x_t, t_B, steps=3, gradient=gradient).sum().backward()
    by_hand = fixed.clone().requires_grad_()
    x = x_t
    for step in range(3):
        at = by_hand if gradient == "all" or step == 2 else fixed
        x = x - (t_B / 3).reshape(-1, 1, 1, 1) * predictor(at)(x, t_B * (3 - step) / 3)
    x.sum().backward()
    assert torch.allclose(weight.grad, by_hand.grad, rtol=1e-12)


def test_unrolling_refuses_what_it_does_not_know():
    x_t, _ = pair()
    with pytest.raises(InputError, match="steps=0"):
        unrolled_estimate(predictor(1), x_t, torch.zeros(5), steps=0)
    with pytest.raises(InputError, match="'first' is not known; use one of all, last"):
        unrolled_estimate(predictor(1), x_t, torch.zeros(5), gradient="first")


def test_the_loss_is_the_mean_square_and_of_float32_for_half_predictions():
    x0, x1 = pair()
    pred = torch.randn(5, 4, 6, 6, generator=torch.Generator().manual_seed(7))
    expected = ((pred.double() - (x1 - x0).double()) ** 2).mean()
    assert torch.allclose(flow_loss(pred, x0, x1).double(), expected, rtol=1e-6)
    half = flow_loss(pred.bfloat16(), x0, x1)
    assert half.dtype == torch.float32
    assert torch.allclose(half, flow_loss(pred.bfloat16().float(), x0, x1))


def test_weight_over_time():
    t_B = torch.tensor([0.0, 0.5, 0.8, 0.81, 1.0])
    assert time_weight(t_B).tolist() == [1, 1, 1, 1, 1]
    assert time_weight(t_B, max_t=0.8).tolist() == [1, 1, 1, 0, 0]
    assert torch.allclose(time_weight(t_B, max_t=0.8, power=2), torch.tensor([1, 0.25, 0.04, 0, 0]))
    for wrong in ({"max_t": 0}, {"max_t": 1.2}, {"power": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            time_weight(t_B, **wrong)
