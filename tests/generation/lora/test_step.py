"""One step of the adapter against the formulas, and what it must leave alone."""

import dataclasses
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from generation.alignment import box_matrices, crop, square_boxes
from generation.identity import latents, pictures
from generation.lora import step as step_module
from generation.lora.assembly import assemble
from generation.lora.families import Prompts
from generation.lora.loop import plan_steps
from generation.lora.step import LoraStep
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.plan import Progressed
from tests.generation.lora.small_lora import small
from tests.ranks import run_ranks


class Ready:
    """A step of a run, and the batches that it is to see."""

    def __init__(self, cfg, runtime=None, *, awake=True, smooth=False):
        runtime = runtime or Runtime()
        self.cfg, parts = cfg, assemble(cfg, runtime)
        self.models, self.face_loss, self.references = parts.models, parts.face_loss, parts.references
        self.step = LoraStep(self.models, cfg, runtime, face_loss=self.face_loss)
        plan = plan_steps(cfg, runtime.world, Progressed())
        self.batches = parts.batches(plan)
        if smooth:  # at a kink of its slopes, a recogniser's gradient leaps by more than rounding
            for part in self.face_loss.face_loss.backbone.network.modules():
                if isinstance(part, nn.PReLU):
                    part.weight.fill_(1.0)
        if awake:  # B is 0 at first, and the gradient of A with it
            draw = torch.Generator().manual_seed(5)
            with torch.no_grad():
                for parameter in self.step.parameters.values():
                    parameter.copy_(0.2 * torch.randn(parameter.shape, generator=draw))

    def gradient(self, step=0):
        """Of a step, as the optimizer gets it, all parameters in a row; and what the step says of itself."""
        seen = []
        clip = self.step._clip

        def looked():
            seen.append(torch.cat([p.grad.flatten().clone() for p in self.step.parameters.values()]))
            return clip()

        self.step._clip = looked
        micro_steps = [self.batches.micro_step(step, part) for part in range(self.cfg.gradient_acc)]
        output = self.step(micro_steps, step=step, lr=0.0)
        self.step._clip = clip
        return seen[0], output


def ready(home, *overrides, faces=True, **options):
    return Ready(small(home / "run", "max_grad_norm=0", *overrides, faces=faces), **options)


def by_hand(made, weight):
    """The gradient of flow loss + weight * face loss of the first step, from the paper's formulas and torch alone."""
    batch = made.batches.micro_step(0, 0)
    t = batch.t_B[:, None, None, None]
    x_t = (1 - t) * batch.x0_BCHW + t * batch.noise_BCHW
    pred = made.step.predict(batch.prompts, x_t, batch.t_B)
    loss = ((pred - (batch.noise_BCHW - batch.x0_BCHW)) ** 2).mean()
    chosen = [place for place, kind in enumerate(batch.data_type) if kind == "person"]
    vae, backbone = made.models.vae, made.face_loss.face_loss.backbone
    shown = vae.decode((x_t - t * pred) / vae.config.scaling_factor + vae.config.shift_factor).sample / 2 + 0.5
    shown = shown.detach().clamp(0, 1) + shown - shown.detach()
    finder, distances = made.face_loss.face_loss.comparison.finder, []
    for place in chosen:
        box = finder.faces[batch.ref_keys[place]].box_4[None]
        matrix = box_matrices(square_boxes(box, 1.2), 112)
        of_ref, of_made = (backbone(crop(img[place : place + 1], matrix, 112)) for img in (batch.ref_img01_BCHW, shown))
        distances.append(1 - F.cosine_similarity(of_ref, of_made)[0])
    face = torch.stack(distances).mean()
    grads = torch.autograd.grad(loss + weight * face, list(made.step.parameters.values()))
    return torch.cat([grad.flatten() for grad in grads]), loss, face


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_the_gradient_is_that_of_the_formulas(home, family):
    made = ready(home, f"transformer=tiny-{family}", "batch_size=4")
    expected, flow, face = by_hand(made, 0.5)
    found, output = made.gradient()
    assert 0 < output.faces == output.asked < 4
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.abs().max())
    assert output.flow_loss == pytest.approx(flow.item(), rel=1e-5)
    assert output.face_loss == pytest.approx(face.item(), rel=1e-4)
    assert output.face_cos == pytest.approx(1 - face.item(), rel=1e-4)
    assert output.loss == pytest.approx(output.flow_loss + 0.5 * output.face_loss)


def face_part(made, monkeypatch):
    """The gradient that the face loss alone adds."""
    with_face, _ = made.gradient()
    monkeypatch.setattr(made.step, "face_loss", None)
    without, _ = made.gradient()
    monkeypatch.undo()
    return with_face - without


def test_the_identity_loss_reaches_the_adapter_through_the_vae(home, monkeypatch):
    made = ready(home)
    assert face_part(made, monkeypatch).norm() > 1e-3
    # Folklore has it that a decode without a graph still passes the gradient on.
    monkeypatch.setattr(pictures, "decode", torch.no_grad()(latents.decode))
    with_face, _ = made.gradient()
    made.step.face_loss = None
    assert torch.equal(with_face, made.gradient()[0])


def test_only_the_adapter_changes(home):
    made = ready(home, awake=False)
    recogniser = made.face_loss.face_loss.backbone.network
    trained = set(made.step.parameters)
    watched = {
        "transformer": {k: v for k, v in made.models.transformer.state_dict().items() if k not in trained},
        "vae": made.models.vae.state_dict(),
        "recogniser": recogniser.state_dict(),
    }
    before = {name: {k: v.clone() for k, v in state.items()} for name, state in watched.items()}
    start = {name: p.detach().clone() for name, p in made.step.parameters.items()}
    made.models.transformer.train()
    for step in range(3):
        made.step([made.batches.micro_step(step, 0)], step=step, lr=0.1)
    for name, state in watched.items():
        assert all(torch.equal(value, before[name][key]) for key, value in state.items()), name
    assert all(not torch.equal(p, start[name]) for name, p in made.step.parameters.items())


def test_accumulated_micro_steps_have_the_gradient_of_one_batch(home):
    whole, output = ready(home, "batch_size=4", smooth=True).gradient()
    parts, accumulated = ready(home, "batch_size=1", "gradient_acc=4", smooth=True).gradient()
    assert 0 < output.faces < 4  # so that means over micro-steps would differ
    assert (parts - whole).norm() < 1e-5 * whole.norm()
    assert accumulated.face_loss == pytest.approx(output.face_loss, rel=1e-4)
    assert (accumulated.faces, accumulated.asked) == (output.faces, output.asked)


def gradient_of_rank(runtime, cfg):
    return Ready(cfg, runtime, smooth=True).gradient()


def test_two_ranks_have_the_gradient_of_one_with_the_doubled_batch(home):
    whole, output = ready(home, "batch_size=4", smooth=True).gradient()
    cfg = small(home / "run", "max_grad_norm=0", faces=True)
    (first, of_first), (second, of_second) = run_ranks(gradient_of_rank, 2, cfg)
    assert torch.equal(first, second)
    assert of_first == of_second
    assert (first - whole).norm() < 1e-5 * whole.norm()
    assert of_first.face_cos == pytest.approx(output.face_cos, rel=1e-4)
    assert (of_first.faces, of_first.asked) == (output.faces, output.asked)


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_recomputation_changes_no_bit(home, family):
    plain, _ = ready(home, f"transformer=tiny-{family}").gradient()
    recomputed = ready(home, f"transformer=tiny-{family}", "gradient_checkpointing=True", "vae_checkpointing=True")
    calls = Counter()
    blocks = {"transformer": recomputed.models.transformer.transformer_blocks[0]}
    blocks["vae"] = recomputed.models.vae.decoder.up_blocks[0]
    for name, block in blocks.items():
        block.register_forward_pre_hook(lambda *_, name=name: calls.update([name]))
    assert torch.equal(recomputed.gradient()[0], plain)
    assert calls == {"transformer": 2, "vae": 2}


def test_a_window_round_the_face_has_nearly_the_same_gradient(home, monkeypatch):
    whole = face_part(ready(home), monkeypatch)
    windowed = face_part(ready(home, "face_window=True"), monkeypatch)
    assert F.cosine_similarity(whole, windowed, dim=0) > 0.99
    assert not torch.equal(whole, windowed)


def test_more_unrolled_steps_are_more_passes(home, monkeypatch):
    calls = []
    predict = LoraStep.predict
    monkeypatch.setattr(LoraStep, "predict", lambda *args: calls.append(args[3]) or predict(*args))
    one = ready(home).gradient()[0]
    assert len(calls) == 1
    three = ready(home, "unrolled_steps=3").gradient()[0]
    assert [round(float(t_B[0] / calls[1][0]), 5) for t_B in calls[1:]] == [1, round(2 / 3, 5), round(1 / 3, 5)]
    assert not torch.equal(one, three)


def test_late_times_have_no_face_loss_and_weights_fall_with_time(home):
    made = ready(home, "batch_size=4", "face_weight_over_t=2")
    batch = made.batches.micro_step(0, 0)
    faces = [place for place, kind in enumerate(batch.data_type) if kind]
    limit = float(batch.t_B[faces].sort().values[0]) + 1e-6
    _, one = ready(home, "batch_size=4", f"face_max_t={limit}").gradient()
    assert (one.asked, one.faces) == (1, 1)
    _, none = ready(home, "batch_size=4", f"face_max_t={limit / 2}").gradient()
    assert (none.asked, none.faces, none.face_loss) == (0, 0, None)
    _, weighted = made.gradient()
    made.cfg = made.step.cfg = dataclasses.replace(made.cfg, face_weight_over_t=0.0)
    _, plain = made.gradient()
    assert weighted.face_cos == pytest.approx(plain.face_cos)
    assert weighted.face_loss < (1 - limit) ** 2 * plain.face_loss


def test_at_weight_0_the_face_loss_is_only_logged(home):
    gradient, output = ready(home, "face_loss_weight=0").gradient()
    assert torch.equal(gradient, ready(home, faces=False).gradient()[0])
    assert output.faces > 0
    assert output.loss == output.flow_loss


def test_the_norm_of_the_gradient_is_cut(home):
    made = Ready(small(home / "run", "optimizer=sgd", "momentum=0", "weight_decay=0", "max_grad_norm=0.01"))
    before = torch.cat([p.detach().flatten() for p in made.step.parameters.values()])
    output = made.step([made.batches.micro_step(0, 0)], step=0, lr=1.0)
    moved = torch.cat([p.detach().flatten() for p in made.step.parameters.values()]) - before
    assert output.grad_norm > 0.02
    assert moved.norm() == pytest.approx(0.01, rel=1e-3)


def bad_on_one_rank(runtime, cfg):
    made = Ready(cfg, runtime)
    before = [p.detach().clone() for p in made.step.parameters.values()]
    batch = made.batches.micro_step(0, 0)
    if runtime.rank == 1:
        batch = dataclasses.replace(
            batch, prompts=Prompts(batch.prompts.embeds_BLD * torch.nan, batch.prompts.pooled_BP)
        )
    output = made.step([batch], step=0, lr=0.1)
    same = all(torch.equal(p, old) for p, old in zip(made.step.parameters.values(), before))
    memory = [value for state in made.step.optimizer.state.values() for value in state.values()]
    return output.agreed.is_skipped, same, all(not value.any() for value in memory)


def test_a_step_that_is_not_finite_on_one_rank_changes_nothing_on_any(home):
    cfg = small(home / "run", faces=True)
    Ready(cfg)  # fills the cache
    assert run_ranks(bad_on_one_rank, 2, cfg) == [(True, True, True)] * 2


def test_too_many_bad_steps_end_the_run_with_advice(home, monkeypatch):
    made = ready(home, "max_bad_steps=2")
    monkeypatch.setattr(step_module, "flow_loss", lambda pred, x0, x1: pred.sum() * torch.nan)
    batch = made.batches.micro_step(0, 0)
    made.step([batch], step=0, lr=0.1)
    made.step.require_good(0)
    made.step([batch], step=1, lr=0.1)
    with pytest.raises(InputError, match="2 steps in a row up to step 2 were not finite.*Lower lr"):
        made.step.require_good(1)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_has_a_gradient_near_that_of_float32(home, precision):
    exact, _ = ready(home, smooth=True).gradient()
    made = ready(home, f"precision={precision}", smooth=True)
    rough, output = made.gradient()
    assert F.cosine_similarity(exact, rough, dim=0) > 0.98
    assert not output.agreed.is_skipped
    assert {p.dtype for p in made.face_loss.face_loss.backbone.network.parameters()} == {torch.float32}
    # Unscaled before it is cut: the scale of fp16 is no part of its norm.
    assert output.grad_norm == pytest.approx(exact.norm().item(), rel=0.1)
