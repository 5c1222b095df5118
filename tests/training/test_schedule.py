"""The learning rate against torch's own schedulers and against closed forms."""

import pytest
import torch

from recognition.training.schedule import learning_rate, step_counts


def torch_rates(make_scheduler, base, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_polynomial_is_torch_polynomial():
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.PolynomialLR(o, total_iters=40, power=1.0), 0.1, 40)
    ours = [learning_rate(step, base=0.1, total_steps=40) for step in range(40)]
    assert ours == pytest.approx(expected, rel=1e-12)


def test_cosine_is_torch_cosine():
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=40), 0.3, 40)
    ours = [learning_rate(step, base=0.3, total_steps=40, schedule="cosine") for step in range(40)]
    assert ours == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", ["polynomial", "cosine"])
def test_warmup_starts_low_reaches_the_base_once_and_ends_near_zero(schedule):
    rates = [learning_rate(s, base=0.4, total_steps=100, warmup_steps=8, schedule=schedule) for s in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[:8] == pytest.approx([0.05 * (step + 1) for step in range(8)])
    assert max(rates) == pytest.approx(0.4)
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert 0 < rates[-1] < 0.01


def test_step_counts_follow_images_not_floors_per_epoch():
    # 3561 images, 12 epochs, batch 128: 42732 images are 333 whole batches; flooring each epoch would give 324.
    assert step_counts(num_samples=3561, batch_size=64, world=2, gradient_acc=1, num_epoch=12, warmup_epoch=1) == (
        333,
        27,
    )
    assert step_counts(num_samples=100, batch_size=5, world=2, gradient_acc=3, num_epoch=2, warmup_epoch=0) == (6, 0)
