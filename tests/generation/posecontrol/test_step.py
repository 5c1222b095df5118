"""A step: the same gradient however its pairs are shared among passes and ranks; clipped after unscaling; votes."""

import math

import numpy as np
import pytest
import torch

from generation import FrozenBackbone
from generation.pictures import resized
from generation.pose import rotation_matrices
from generation.posecontrol.arguments import config_of
from generation.posecontrol.assembly import assemble
from generation.posecontrol.batches import PairBatch, pass_sizes, steps_of
from generation.posecontrol.loop import epoch_lr
from generation.posecontrol.losses import pose_loss
from generation.posecontrol.state import PoseControlState
from generation.posecontrol.step import PoseControlStep
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.generation.identity.drawn_faces import weights_file
from tests.generation.posecontrol.small_model import small
from tests.generation.posecontrol.small_set import words
from tests.ranks import run_ranks

COUNT, ALONE = 8, Runtime()


def config(*more):
    return config_of(["--data_dir", "d", *map(str, more)], description="")


def batch(rows, share):
    """Rows of eight pairs that are the same each time."""
    draw = torch.Generator().manual_seed(4)
    source, target = (torch.randint(256, (COUNT, 32, 32, 3), generator=draw, dtype=torch.uint8) for _ in range(2))
    source_pose, target_pose = (torch.rand(COUNT, 3, generator=draw) * 60 - 30 for _ in range(2))
    return PairBatch(source[rows], target[rows], source_pose[rows], target_pose[rows], share)


def gradients(parts, runtime=ALONE, *more, precision="fp32"):
    """Of a step over these parts, before it changes anything."""
    step = PoseControlStep(small(proj_norm="layer"), config(*more), runtime, precision=precision)
    step.loss_scale.scale.clamp_(max=1024.0)  # the first one overflows, which is how it is found
    seen = {}

    def keep(*_, **__):
        seen.update({name: p.grad.clone() for name, p in step.parameters.items() if p.grad is not None})

    step.optimizer.step = keep
    output = step([batch(rows, share) for rows, share in parts], lr=1e-3)
    return seen, output


def rank_gradients(runtime):
    mine = slice(runtime.rank * 4, runtime.rank * 4 + 4)
    grads, output = gradients([(mine, 1.0)], runtime)
    return {name: grad.numpy() for name, grad in grads.items()}, output.losses


@pytest.mark.parametrize("more", [(), ("--loss_type", "combined"), ("--pose_loss", "geodesic")])
def test_passes_add_up_to_the_large_batch(more):
    whole, one = gradients([(slice(0, 8), 1.0)], Runtime(), *more)
    parts, other = gradients([(slice(0, 4), 0.5), (slice(4, 6), 0.25), (slice(6, 8), 0.25)], Runtime(), *more)
    assert one.losses.loss == pytest.approx(other.losses.loss, rel=1e-5)
    for name, grad in whole.items():
        assert torch.allclose(grad, parts[name], rtol=1e-4, atol=1e-6), name


def test_ranks_add_up_to_the_large_batch():
    whole, output = gradients([(slice(0, 8), 1.0)])
    for grads, losses in run_ranks(rank_gradients, 2):
        assert losses.loss == pytest.approx(output.losses.loss, rel=1e-5)
        for name, grad in whole.items():
            assert np.allclose(grad.numpy(), grads[name], rtol=1e-4, atol=1e-6), name


def test_gradients_are_clipped_as_they_are_not_as_they_are_scaled():
    """In fp16 the loss is multiplied by 1,024 here; what is clipped must be the gradient itself."""
    _, plain = gradients([(slice(0, 8), 1.0)])
    clipped, scaled = gradients([(slice(0, 8), 1.0)], precision="fp16")
    assert not scaled.agreed.is_skipped
    assert plain.grad_norm > 10
    assert scaled.grad_norm == pytest.approx(plain.grad_norm, rel=0.05)
    norm = math.sqrt(sum(grad.square().sum().item() for grad in clipped.values()))
    assert norm == pytest.approx(1, rel=1e-3)


def test_what_is_not_finite_changes_nothing():
    step = PoseControlStep(small(proj_norm="layer"), config(), Runtime())
    broken = batch(slice(0, 4), 1.0)
    broken.target_pose_B3[0] = float("nan")
    before = {name: parameter.detach().clone() for name, parameter in step.parameters.items()}
    for _ in range(20):
        assert step([broken], lr=1e-3).agreed.is_bad
    assert all(torch.equal(before[name], parameter) for name, parameter in step.parameters.items())
    with pytest.raises(InputError, match="20 steps in a row were not finite"):
        step.require_good()


def test_combined_is_mse_and_l1():
    losses = {}
    for kind, more in (("mse", ()), ("l1", ()), ("combined", ("--l1_weight", 0.3))):
        _, output = gradients([(slice(0, 8), 1.0)], Runtime(), "--loss_type", kind, *more)
        losses[kind] = output.losses.image_loss
    assert losses["combined"] == pytest.approx(losses["mse"] + 0.3 * losses["l1"], rel=1e-6)
    assert losses["mse"] != pytest.approx(losses["l1"], rel=0.01)


def test_the_pose_head_is_taught_the_pose_of_the_source():
    """The first version taught it the target's."""
    step = PoseControlStep(small(proj_norm="layer"), config(), Runtime())
    data = batch(slice(0, 8), 1.0)
    pose = step.losses(data)[2]
    code = step.generated(data)[0].source_pose_BP
    wanted = (code - data.source_pose_B3 * math.pi / 180).square().mean()
    assert pose.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize(("pose_dim", "kind"), [(3, "mse"), (6, "geodesic")])
def test_the_pose_head_learns_64_poses(pose_dim, kind):
    """Its angles, to less than five degrees: the pictures are noise, so it must learn them by heart."""
    draw = torch.Generator().manual_seed(1)
    source = torch.rand(64, 3, 32, 32, generator=draw) * 2 - 1
    poses = torch.rand(64, 3, generator=draw) * torch.tensor([60.0, 120.0, 40.0]) - torch.tensor([30.0, 60.0, 20.0])
    model = small(feature_dim=64, pose_dim=pose_dim).train()
    pooled_BC = model.encoder(source).pooled_BC
    optimizer = torch.optim.Adam([*model.feature_proj.parameters(), *model.pose_head.parameters()], lr=3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        pose_loss(model.pose_head(model.feature_proj(pooled_BC)), poses, kind).backward()
        optimizer.step()
    angles = model.angles_of(model.pose_head(model.feature_proj(pooled_BC)).detach())
    apart = (rotation_matrices(angles) - rotation_matrices(poses)).square().sum((1, 2))
    degrees = 2 * torch.rad2deg(torch.asin((apart / 8).sqrt().clamp(max=1)))
    assert degrees.mean() < 5


def test_an_identity_loss_makes_faces_more_alike(data, tmp_path):
    """By the recogniser that it looks through; all else is the same."""
    backbone = FrozenBackbone.open(weights_file(tmp_path))  # settled: an untrained one finds all faces alike
    cosines = []
    for weight in (0.0, 0.03):
        options = ("--batch_size", 4, "--identity_loss_weight", weight)
        cfg = config_of(
            words(data, tmp_path, *options, "--identity_recogniser", tmp_path / "r_tiny-0.safetensors"), description=""
        )
        parts = assemble(cfg, ALONE)
        (some,) = next(parts.train.epoch(0))
        for _ in range(60):
            parts.take_step([some], lr=2e-3)
        with torch.no_grad():
            made, target = parts.take_step.generated(some)
            both = [backbone(resized((each + 1) / 2, 112)) for each in (made.image_BCHW, target)]
        cosines.append(torch.cosine_similarity(*both, dim=1).mean().item())
    assert cosines[1] > cosines[0] + 0.01


@pytest.mark.parametrize(
    ("pairs", "sizes"),
    [(16, [4, 4]), (17, [4, 4]), (20, [4, 4, 2]), (19, [4, 4]), (4, [2]), (3, [])],
)
def test_passes_of_an_epoch_on_two_ranks(pairs, sizes):
    assert pass_sizes(pairs, batch_size=4, world=2, least=2) == sizes


def test_what_remains_of_an_accumulation_is_a_step():
    assert steps_of([4, 4, 4, 2], 3) == [[4, 4, 4], [2]]


@pytest.mark.parametrize("world", [1, 2])
def test_an_epoch_shows_each_pair_once(world, data, tmp_path):
    """Whatever the ranks; pairs are known by their poses here, which all differ."""
    seen = []
    for rank in range(world):
        options = ("--batch_size", 2, "--gradient_accumulation_steps", 2)
        runtime = Runtime(rank=rank, world=1)
        parts = assemble(config_of(words(data, tmp_path, *options), description=""), runtime)
        batches = parts.train
        object.__setattr__(batches, "runtime", Runtime(rank=rank, world=world))
        batches.steps = steps_of(pass_sizes(16, batch_size=2, world=world, least=2), 2)
        for epoch in (0, 1):
            for group in batches.epoch(epoch):
                assert sum(each.share for each in group) == pytest.approx(1)
                for each in group:
                    pictures = each.source_BHWC.flatten(1).sum(1).tolist(), each.target_BHWC.flatten(1).sum(1).tolist()
                    seen += [(epoch, *pair) for pair in zip(*pictures)]
    assert len(seen) == 32
    assert len(set(seen)) == 32
    # In an order of its own each time.
    first, second = ([pair for epoch, *pair in seen if epoch == wanted] for wanted in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second


def test_the_best_epoch_is_that_of_the_least_validation_loss():
    step = PoseControlStep(small(proj_norm="layer"), config(), ALONE)
    state = PoseControlState(step, step.cfg, {}, "")
    losses = (0.5, 0.3, 0.4, float("nan"), 0.2)
    assert [state.end_epoch({}, {"loss": loss}) for loss in losses] == [True, True, False, False, True]
    assert state.best_val_loss == 0.2


@pytest.mark.parametrize(("epoch", "lr"), [(0, 1e-3), (50, (1e-3 + 1e-6) / 2), (100, 1e-6)])
def test_learning_rate(epoch, lr):
    assert epoch_lr(config("--lr", 1e-3), epoch) == pytest.approx(lr)
