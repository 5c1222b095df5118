"""Runs of arcface_torch that go on here, on any number of ranks, as plain torch would have gone on with them."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from recognition.checkpoint.opening import open_checkpoint
from recognition.data.order import sample_ids
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.importing import import_arcface_torch
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.training.schedule import learning_rate
from recognition.training.state import restore
from tests.checkpoint.arcface_torch_run import ArcfaceTorchRun, D, edited
from tests.ranks import run_ranks
from tests.training.small_runs import assert_same_weights, small, unreported, watched

SIZE, GLOBAL_BATCH, CLASSES, IMAGES = 16, 12, 10, 240
# The softmax, and the decay of every parameter, of the run to go on from; weights kept between the sweeps are rounded.
THEIRS = ("margin_list=(1,0,0)", "scale=16", "decay_norms=True", "max_grad_norm=0", "flip=False")
THEIRS += ("head_mode=recompute",)
OPTIMIZERS = {
    "sgd": ("lr=0.02", "momentum=0.9", "weight_decay=5e-4"),
    "adamw": ("lr=0.001", "weight_decay=0.1", "optimizer=adamw"),
}


def linear(*args, **options):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, D), nn.Tanh(), nn.Linear(D, D))


def run_config(folder, world, *overrides):
    """20 epochs' schedule of 240 images for 12 a step."""
    data = (f"num_classes={CLASSES}", f"num_image={IMAGES}", f"batch_size={GLOBAL_BATCH // world}", "max_steps=None")
    keep = ("checkpoint_keep=99", "verbose=999", "image_size=16", f"embedding_size={D}", "warmup_epoch=0")
    return small(folder, *data, *keep, *THEIRS, *overrides)


@pytest.fixture(params=["sgd", "adamw"])
def optimizer(request):
    return request.param


@pytest.fixture
def without_norms(monkeypatch):
    """Batches can be split over ranks in any way."""
    monkeypatch.setattr(assembly, "build_backbone", linear)
    monkeypatch.setattr("recognition.training.importing.build_backbone", linear)


def went_on(runtime, folder, *overrides):
    """What this rank saw in each step of the run in `folder`, and the backbone and its centres after it."""
    with watched() as history, unreported():
        train(run_config(folder, runtime.world, *overrides), runtime)
    # A world of three has a forward pass for nothing before its first step.
    return [
        (step.lr, step.ids, step.inputs[-1], step.batches[0].labels_B, step.state, step.centers) for step in history
    ]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_run_goes_on_as_plain_torch_does_with_the_same_batches(tmp_path, without_norms, optimizer, world):
    theirs = ArcfaceTorchRun(2, num_classes=CLASSES, optimizer=optimizer, build=linear).train(size=SIZE)
    own = OPTIMIZERS[optimizer]
    path = import_arcface_torch(theirs.save(tmp_path / "theirs"), run_config(tmp_path, 2, *own), print)
    assert path == tmp_path / "run" / "checkpoints" / "step-00000002"
    ranks = run_ranks(went_on, world, tmp_path, *own, "max_steps=7")
    assert [len(history) for history in ranks] == [5] * world
    for number, steps in enumerate(zip(*ranks), start=2):
        lr, *_ = steps[0]
        assert lr == pytest.approx(learning_rate(number, base=float(own[0][3:]), total_steps=20))
        ids = torch.cat([step[1] for step in steps])
        positions = np.arange(number * GLOBAL_BATCH, (number + 1) * GLOBAL_BATCH)
        assert ids.tolist() == sample_ids(positions, num_samples=IMAGES, seed=2048).tolist()
        theirs.step(torch.cat([step[2] for step in steps]).chunk(2), torch.cat([step[3] for step in steps]), lr)
        for _, _, _, _, state, _ in steps:
            assert_same_weights(state, theirs.ranks[0].backbone.state_dict(), rtol=0, atol=1e-5)
        centers = torch.cat([step[5] for step in steps])
        assert (centers - theirs.centers).abs().max() <= 1e-5
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == [3, 4, 5, 6, 7]


def test_statistics_go_on_from_the_mean_of_the_ranks(tmp_path):
    def build():
        return assembly.build_backbone("r_tiny", D, image_size=SIZE)

    theirs = ArcfaceTorchRun(2, num_classes=CLASSES, build=build).train(size=SIZE)
    import_arcface_torch(theirs.save(tmp_path / "theirs"), run_config(tmp_path, 2, *OPTIMIZERS["sgd"]), print)
    steps = list(zip(*run_ranks(went_on, 2, tmp_path, *OPTIMIZERS["sgd"], "max_steps=5")))
    for ours in steps:
        theirs.step([step[2] for step in ours], torch.cat([step[3] for step in ours]), ours[0][0])
    expected = mean_state([rank.backbone.state_dict() for rank in theirs.ranks])
    assert_same_weights(mean_state([step[4] for step in steps[-1]]), expected, rtol=1e-5, atol=1e-5)
    assert ours[0][4]["bn1.num_batches_tracked"] == 5


def mean_state(states):
    """A running mean is linear in what it starts from: the mean over the ranks is what can be compared."""
    return {name: torch.stack([state[name].double() for state in states]).mean(0) for name in states[0]}


def taken_up(runtime, folder, *overrides):
    """Rows of the imported centres as this number of ranks has them, and how often AdamW has updated each."""
    take_step = assembly.build_step(run_config(folder, runtime.world, *overrides), runtime)
    restore(take_step, open_checkpoint(folder / "run" / "checkpoints" / "step-00000002", runtime))
    centers = take_step.head.centers
    centers.flush()
    counts = centers.touches(torch.arange(centers.num_local))
    return centers.table_KCPD[: centers.num_local, 0].clone(), counts if torch.is_tensor(counts) else torch.tensor([])


@pytest.mark.parametrize("place", ["memory", "mmap"])
@pytest.mark.parametrize("world", [1, 3])
def test_sampled_centres_keep_their_memory_and_their_count_of_updates(tmp_path, without_norms, optimizer, world, place):
    theirs = ArcfaceTorchRun(2, num_classes=CLASSES, optimizer=optimizer, build=linear).train(size=SIZE)
    options = (*OPTIMIZERS[optimizer], "sample_rate=0.3", f"centers={place}")
    options = [word.replace("mmap", f"mmap:{tmp_path / 'centers'}") for word in options]
    import_arcface_torch(theirs.save(tmp_path / "theirs"), run_config(tmp_path, 2, *options), print)
    assert list((tmp_path / "centers").glob("*")) == []
    rows, counts = (torch.cat(parts) for parts in zip(*run_ranks(taken_up, world, tmp_path, *options)))
    keys = ["momentum_buffer"] if optimizer == "sgd" else ["exp_avg", "exp_avg_sq"]
    assert torch.equal(rows, torch.stack([theirs.centers, *map(theirs.remembered, keys)], 1))
    assert optimizer == "sgd" or counts.tolist() == [2] * CLASSES


def test_accumulated_batches_are_one_step_and_the_average_begins_with_the_weights(tmp_path, without_norms):
    theirs = ArcfaceTorchRun(2, num_classes=CLASSES, build=linear).train(steps=4, size=SIZE)
    options = ("gradient_acc=2", "ema_decay=0.9")
    path = import_arcface_torch(theirs.save(tmp_path / "theirs"), run_config(tmp_path, 2, *options), print)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["batch_size"] == 6
    checkpoint = open_checkpoint(path)
    document = checkpoint.document("state.json")
    assert (checkpoint.step, document["step"], document["samples"], document["world"]) == (2, 2, 4 * GLOBAL_BATCH, 1)
    stored = checkpoint.tensor_file("replicated.safetensors")
    for name, weight in theirs.ranks[0].backbone.state_dict().items():
        assert torch.equal(stored.get(f"backbone.{name}"), weight)
        assert torch.equal(stored.get(f"average.{name}"), weight)


@pytest.mark.parametrize("thaw_epoch", [None, 5, 0.05])
def test_what_is_frozen_comes_without_memory_and_stays_until_it_thaws(tmp_path, without_norms, thaw_epoch):
    theirs = ArcfaceTorchRun(2, num_classes=CLASSES, build=linear).train(size=SIZE)
    options = (*OPTIMIZERS["sgd"], "freeze=['1']", f"thaw_epoch={thaw_epoch}")
    path = import_arcface_torch(theirs.save(tmp_path / "theirs"), run_config(tmp_path, 2, *options), print)
    names = open_checkpoint(path).tensor_file("replicated.safetensors").keys()
    # A twentieth of 240 images is one step of two.
    assert ("optimizer.backbone.1.weight.momentum_buffer" in names) == (thaw_epoch == 0.05)
    assert "optimizer.backbone.3.weight.momentum_buffer" in names
    history = went_on(Runtime(), tmp_path, *options, "max_steps=6")
    moved = {key for key, was in theirs.ranks[0].backbone.state_dict().items() if not history[-1][4][key].equal(was)}
    assert moved == {"3.weight", "3.bias"} | ({"1.weight", "1.bias"} if thaw_epoch == 0.05 else set())


@pytest.mark.parametrize(("num_image", "asks"), [(23, False), (24, False), (36, False), (37, True), (21, True)])
def test_a_batch_size_that_cannot_be_theirs_is_asked_about(tmp_path, without_norms, num_image, asks):
    """One epoch of theirs is two batches of 6 on each of two ranks: 24 of 36 images at most, or of 23 padded ones."""
    theirs = ArcfaceTorchRun(2, num_classes=CLASSES, build=linear).train(size=SIZE)
    folder, lines = theirs.save(tmp_path / "theirs"), []
    import_arcface_torch(folder, run_config(tmp_path, 2, f"num_image={num_image}"), lines.append)
    expected = f"{folder}: 2 rank(s) at step 2; with batch_size=6 each has seen its share of 24 images, "
    question = ". Its files say 1 epoch(s): are batch_size and rec those of that run?" * asks
    assert lines == [f"{expected}{24 / num_image:.2f} epochs{question}"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optimizer=adamw"], "trained by sgd, the config has optimizer=adamw; set optimizer=sgd"),
        (["embedding_size=16"], "has embedding_size=32, the config embedding_size=16; set embedding_size=32"),
        (["num_classes=11", "num_image=242"], "num_classes=11, but its 2 files hold 10 classes"),
        (["network=mbf_tiny"], "checkpoint_gpu_0.pt does not fit network 'mbf_tiny': tensors .* missing"),
        (["image_size=64"], r"does not fit network 'r_tiny': tensors 1 of another shape \(fc.weight"),
        (["loss=subcenter_arcface"], "one centre for each class, loss=subcenter_arcface has 3"),
    ],
)
def test_a_config_that_contradicts_the_files_is_refused_and_nothing_is_written(tmp_path, overrides, words):
    folder = ArcfaceTorchRun(2, num_classes=CLASSES).train().save(tmp_path / "theirs")
    scale = ["image_size=32", "centers=mmap:" + str(tmp_path / "centers")]
    with pytest.raises(InputError, match=words) as error:
        import_arcface_torch(folder, run_config(tmp_path, 2, *scale, *overrides), print)
    assert "\n" not in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["theirs"]


def test_missing_ranks_and_weights_that_are_not_finite_are_refused(tmp_path, without_norms):
    folder = ArcfaceTorchRun(3, num_classes=CLASSES, build=linear).train(size=SIZE).save(tmp_path / "theirs")
    edited(folder, 1, lambda content: content["state_dict_softmax_fc"]["weight"].fill_(torch.nan))
    with pytest.raises(InputError, match="head.table of rank 0 is not finite"):
        import_arcface_torch(folder, run_config(tmp_path, 2), print)
    assert not (tmp_path / "run" / "config.json").exists()
    (folder / "checkpoint_gpu_1.pt").unlink()
    with pytest.raises(InputError, match="1 files are missing: checkpoint_gpu_1.pt"):
        import_arcface_torch(folder, run_config(tmp_path / "other", 2), print)
    assert not (tmp_path / "other").exists()


def test_a_run_that_is_there_is_left_alone(tmp_path, without_norms):
    folder = ArcfaceTorchRun(2, num_classes=CLASSES, build=linear).train(size=SIZE).save(tmp_path / "theirs")
    cfg = run_config(tmp_path, 2, *OPTIMIZERS["sgd"])
    import_arcface_torch(folder, cfg, print)
    with pytest.raises(InputError, match="run holds a run; give another folder"):
        import_arcface_torch(folder, cfg, print)
    (tmp_path / "file" / "run").parent.mkdir()
    (tmp_path / "file" / "run").touch()
    with pytest.raises(InputError, match="run is a file; give a folder"):
        import_arcface_torch(folder, run_config(tmp_path / "file", 2), print)
