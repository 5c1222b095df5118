"""A step: the losses that the paper writes, who learns from what, ranks that add up, steps that must change nothing."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from generation.pictures import img11_of
from generation.stargan.batches import AttributeBatch
from generation.stargan.config import StarGANConfig
from generation.stargan.networks import StarGANDiscriminator, StarGANGenerator
from generation.stargan.step import MAX_BAD_STEPS, StarGANStep, skipped
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.ranks import run_ranks

SIZE = 16


def networks():
    torch.manual_seed(1)
    return StarGANGenerator(4, 2, 1), StarGANDiscriminator(SIZE, 4, 2, 2)


def stepper(runtime=None, *, precision="fp32", face_loss=None, **options):
    options = {"selected_attrs": ("Male", "Young"), "image_size": SIZE, "d_repeat_num": 2, "batch_size": 4} | options
    cfg = StarGANConfig(**options)
    return StarGANStep(*networks(), cfg, runtime or Runtime(), precision=precision, face_loss=face_loss)


def batch(count=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return AttributeBatch(
        torch.randint(0, 256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=draw),
        torch.randint(0, 2, (count, 2), generator=draw).float(),
        torch.randint(0, 2, (count, 2), generator=draw).float(),
        torch.rand(count, generator=draw),
    )


def img11(each):
    return img11_of(each.images_BHWC, torch.device("cpu"))


def state(module):
    return copy.deepcopy(module.state_dict())


def unchanged(module, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_losses_of_the_discriminator():
    step, b = stepper(lambda_cls=2.0, lambda_gp=5.0), batch()
    x = img11(b)
    loss, real, fake, of_classes, penalty = step.d_losses(x, b)
    made = step.generator(x, b.targets_BA).detach()
    torch.testing.assert_close(real, -step.discriminator(x)[0].mean())
    torch.testing.assert_close(fake, step.discriminator(made)[0].mean())
    wanted = F.binary_cross_entropy(step.discriminator(x)[1].sigmoid(), b.labels_BA) * 2  # summed over two attributes
    torch.testing.assert_close(of_classes, wanted)
    torch.testing.assert_close(loss, real + fake + 2 * of_classes + 5 * penalty)


def test_the_discriminators_losses_reach_no_generator():
    step, b = stepper(), batch()
    loss = step.d_losses(img11(b), b)[0]
    assert all(slope is None for slope in torch.autograd.grad(loss, [*step.generator.parameters()], allow_unused=True))


def test_losses_of_the_generator():
    step, b = stepper(lambda_cls=2.0, lambda_rec=7.0), batch()
    x = img11(b)
    loss, fake, back, of_classes, identity, keep = step.g_losses(x, b)
    made = step.generator(x, b.targets_BA)
    torch.testing.assert_close(fake, -step.discriminator(made)[0].mean())
    torch.testing.assert_close(back, (step.generator(made, b.labels_BA) - x).abs().mean())
    wanted = F.binary_cross_entropy(step.discriminator(made)[1].sigmoid(), b.targets_BA) * 2
    torch.testing.assert_close(of_classes, wanted)
    assert identity == keep == 0
    torch.testing.assert_close(loss, fake + 7 * back + 2 * of_classes)


def test_a_loss_of_identity_is_of_the_picture_and_its_edit():
    asked = []

    def face_loss(reference, made):
        asked.append((reference, made))
        return (reference - made).abs().mean()

    step, b = stepper(face_loss=face_loss, lambda_id=3.0, recogniser="R"), batch()
    x = img11(b)
    loss, fake, back, of_classes, identity, keep = step.g_losses(x, b)
    torch.testing.assert_close(asked[0][0], (x + 1) / 2)
    torch.testing.assert_close(asked[0][1], (step.generator(x, b.targets_BA) + 1) / 2)
    torch.testing.assert_close(loss, fake + 10 * back + of_classes + 3 * identity)
    identity.backward()
    assert step.generator.main[0].weight.grad.abs().sum() > 0


def test_what_shall_stay_costs_where_it_changes():
    step = stepper(lambda_keep=4.0)
    keep = torch.zeros(4, 1, SIZE, SIZE, dtype=torch.bool)
    keep[:, :, :5] = True
    b = dataclasses.replace(batch(), keep_B1HW=keep)
    x = img11(b)
    loss, fake, back, of_classes, _, found = step.g_losses(x, b)
    made = step.generator(x, b.targets_BA)
    torch.testing.assert_close(found, (made - x)[:, :, :5].abs().mean())
    torch.testing.assert_close(loss, fake + 10 * back + of_classes + 4 * found)
    nowhere = dataclasses.replace(b, keep_B1HW=torch.zeros_like(keep))
    assert step.g_losses(x, nowhere)[5] == 0


def test_who_learns_when():
    step = stepper()
    before = [state(each) for each in (step.generator, step.discriminator, step.average.module)]
    output = step(batch(), lr_factor=1.0, with_generator=False)
    assert output.generator is None
    assert unchanged(step.generator, before[0])
    assert unchanged(step.average.module, before[2])
    assert not unchanged(step.discriminator, before[1])
    before = [state(each) for each in (step.generator, step.discriminator)]
    output = step(batch(), lr_factor=1.0, with_generator=True)
    assert not unchanged(step.generator, before[0])
    assert set(output.generator.losses) == {
        "g_loss",
        "g_loss_fake",
        "g_loss_rec",
        "g_loss_cls",
        "g_loss_id",
        "g_loss_keep",
    }


def test_the_generators_turn_leaves_no_gradient_with_the_discriminator():
    step = stepper(d_lr=1e-9)
    step(batch(), lr_factor=1.0, with_generator=True)
    assert all(p.grad is None for p in step.discriminator.parameters())


def test_a_step_is_one_of_adam():
    """Against torch's own, on copies."""
    step, b = stepper(g_lr=1e-3, d_lr=2e-3, beta1=0.4, beta2=0.9), batch()
    generator, discriminator = copy.deepcopy(step.generator), copy.deepcopy(step.discriminator)
    other = stepper()
    other.generator, other.discriminator = generator, discriminator
    step(b, lr_factor=0.5, with_generator=True)
    for network, losses, lr in ((discriminator, other.d_losses, 1e-3), (generator, other.g_losses, 5e-4)):
        adam = torch.optim.Adam(network.parameters(), lr=lr, betas=(0.4, 0.9))
        network.zero_grad()
        losses(img11(b), b)[0].backward()
        adam.step()
    for ours, theirs in ((step.discriminator, discriminator), (step.generator, generator)):
        for name, tensor in ours.named_parameters():
            other, slope = theirs.get_parameter(name), theirs.get_parameter(name).grad
            # Where the slope is nearly 0, Adam's first step is either way.
            clear = slope.abs() > 1e-6
            assert clear.float().mean() > 0.5
            torch.testing.assert_close(tensor[clear], other[clear], rtol=1e-5, atol=1e-6)


def test_average_of_the_generator():
    step = stepper(ema_decay=0.9, g_lr=1e-2)
    weights = [step.generator.main[0].weight.detach().clone()]
    for seed in range(2):
        step(batch(seed=seed), lr_factor=1.0, with_generator=True)
        weights.append(step.generator.main[0].weight.detach().clone())
    # The first update takes all of it, the second nine tenths (average.py).
    wanted = weights[1] * 0.1 + weights[2] * 0.9
    torch.testing.assert_close(step.average.module.main[0].weight, wanted)


def stepped_on_a_rank(runtime, folder):
    whole = batch(4)
    part = slice(2 * runtime.rank, 2 * runtime.rank + 2)
    mine = AttributeBatch(*(getattr(whole, n)[part] for n in ("images_BHWC", "labels_BA", "targets_BA", "shares_B")))
    step = stepper(runtime)
    output = step(mine, lr_factor=1.0, with_generator=True)
    torch.save([step.generator.state_dict(), step.discriminator.state_dict()], folder / f"{runtime.rank}.pt")
    return [output.discriminator.losses, output.generator.losses]


def test_ranks_step_as_one_with_the_whole_batch(tmp_path):
    found = run_ranks(stepped_on_a_rank, 2, tmp_path)
    step = stepper()
    output = step(batch(4), lr_factor=1.0, with_generator=True)
    for losses, wanted in zip(found[0], (output.discriminator.losses, output.generator.losses)):
        assert losses == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert found[0] == found[1]
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for network, of_rank_0, of_rank_1 in zip((step.generator, step.discriminator), *both):
        for name, tensor in network.state_dict().items():
            assert torch.equal(of_rank_0[name], of_rank_1[name])
            # Adam's first step is the sign of the gradient: where that is nearly 0 it may be either.
            assert ((of_rank_0[name] - tensor).abs() < 1e-5).float().mean() > 0.99


def test_what_is_not_finite_changes_nothing_and_ends_the_run_in_time():
    step = stepper()
    with torch.no_grad():
        step.discriminator.main[0].bias[0] = float("nan")
    before = [state(each) for each in (step.generator, step.average.module)]
    for _ in range(MAX_BAD_STEPS):
        step.require_good()
        output = step(batch(), lr_factor=1.0, with_generator=True)
        assert skipped(output).is_bad
    assert unchanged(step.generator, before[0])
    assert unchanged(step.average.module, before[1])
    assert not step.d.optimizer.state
    assert step.average.updates == 0
    with pytest.raises(InputError, match="20 steps in a row were not finite.* Lower --d_lr"):
        step.require_good()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_steps_near_float32(precision):
    """The penalty is that of float32; what the networks compute is near it."""
    exact, mixed = stepper(), stepper(precision=precision)
    b = batch()
    wanted, found = exact.d_losses(img11(b), b), mixed.d_losses(img11(b), b)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.02)
    before = state(mixed.discriminator)
    for _ in range(12):  # fp16 finds its scale first
        output = mixed(b, lr_factor=1.0, with_generator=True)
    assert not skipped(output).is_skipped
    assert not unchanged(mixed.discriminator, before)


def test_each_network_has_its_own_scale_in_fp16():
    step = stepper(precision="fp16")
    step.d.loss_scale.scale.fill_(2.0**100)
    before = [state(each) for each in (step.generator, step.discriminator)]
    output = step(batch(), lr_factor=1.0, with_generator=True)
    assert output.discriminator.agreed.is_skipped
    assert not output.discriminator.agreed.is_bad
    assert not output.generator.agreed.is_skipped
    assert unchanged(step.discriminator, before[1])
    assert not unchanged(step.generator, before[0])
    assert step.d.loss_scale.scale == 2.0**99
    assert step.g.loss_scale.scale == 2.0**16
