"""Runs that stop and go on: bit for bit as if they had not on as many ranks, and to rounding on any other number."""

import json

import pytest
import torch
from torch import nn

from recognition.checkpoint.layout import STATE
from recognition.checkpoint.opening import open_checkpoint
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.training.state import restore
from tests.ranks import run_ranks
from tests.training import small_runs
from tests.training.small_runs import small, unreported

STEPS = 8
SETTINGS = {
    "sgd": (),
    "sampled": ("sample_rate=0.3",),
    "skip": ("sample_rate=0.3", "lazy=skip"),
    "adamw": ("optimizer=adamw", "lr=0.001"),
    "sampled adamw": ("optimizer=adamw", "lr=0.001", "sample_rate=0.3"),
    "in files": ("sample_rate=0.3", "centers=mmap:{folder}/centers"),
    "average": ("ema_decay=0.9",),
    "accumulated": ("gradient_acc=2", "batch_size=4"),
    "bf16": ("precision=bf16",),
    "fp16": ("precision=fp16",),
    "dropout": ("dropout=0.4",),
    "vit": ("network=vit_tiny", "image_size=45"),
    "adaface": ("loss=adaface",),
    "curricularface": ("loss=curricularface",),
    "uniface": ("loss=uniface", "sample_rate=0.5"),
    "subcenters": ("loss=subcenter_arcface",),
}
# Go on by what others of the list have, too; what is their own is in tests/head.
ALIKE = {"skip", "adaface", "uniface", "subcenters"}
CHANGES = [(2, 1), (2, 3), (4, 2), *(pytest.param(*ranks, marks=pytest.mark.nightly) for ranks in [(2, 4), (1, 2)])]


def run(runtime, folder, *overrides):
    """Train in `folder`/run and return its path."""
    overrides = [text.format(folder=folder) for text in overrides]
    options = ("num_image=400", "num_classes=21", "checkpoint_keep=99", "verbose=4", "val_targets=['synthetic']")
    return train(small(folder, *options, f"max_steps={STEPS}", *overrides), runtime)


def without_report(runtime, folder, *overrides):
    with unreported():
        return run(runtime, folder, *overrides)


def digests(run_dir):
    return small_runs.digests(run_dir, STEPS)


def losses(run_dir):
    return [(row["step"], row["loss"], row["lr"], row["epoch"]) for row in read_rows(run_dir, "train")]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly) if name in ALIKE else name for name in SETTINGS]
)
def test_a_run_in_turns_is_the_run_in_one_go(tmp_path, name):
    (whole,) = run_ranks(without_report, 1, tmp_path / "whole", *SETTINGS[name])
    for steps in (3, 5, STEPS):
        # New processes, as after a crash: nothing is left but the files.
        (parts,) = run_ranks(without_report, 1, tmp_path / "parts", *SETTINGS[name], f"max_steps={steps}")
    assert digests(parts) == digests(whole)
    assert losses(parts) == losses(whole)


@pytest.mark.parametrize(
    ("name", "world"),
    [("sgd", 2), ("sampled adamw", 3), ("average", 2), ("dropout", 2)]
    + [
        pytest.param(name, world, marks=pytest.mark.nightly)
        for name, world in [("sgd", 3), ("sampled", 2), ("sampled", 3), ("sampled adamw", 2), ("average", 3)]
    ]
    + [pytest.param("dropout", 3, marks=pytest.mark.nightly)],
)
def test_so_it_is_on_several_ranks(tmp_path, name, world):
    run_ranks(without_report, world, tmp_path / "whole", *SETTINGS[name])
    for steps in (2, 5, STEPS):
        run_ranks(without_report, world, tmp_path / "parts", *SETTINGS[name], f"max_steps={steps}")
    found = digests(tmp_path / "parts" / "run")
    assert found == digests(tmp_path / "whole" / "run")
    assert len(found) == 1 + world
    own = [digest for file, digest in found.items() if file.startswith("rank")]
    assert len(set(own)) == world


def linear(*args, **options):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 32), nn.Tanh(), nn.Linear(32, 32))


ELASTIC = ("image_size=16", "scale=16", "lr=0.02", "num_image=240", "export_onnx=False")


def without_norms(runtime, folder, steps, *overrides):
    """A run whose global batch is 12 images on any number of ranks; the losses of its steps."""
    with pytest.MonkeyPatch.context() as patch, unreported():
        patch.setattr(assembly, "build_backbone", linear)
        batch = f"batch_size={12 // runtime.world}"
        options = (*ELASTIC, batch, "num_classes=101", "verbose=99", "checkpoint_keep=99", f"max_steps={steps}")
        train(small(folder, *options, *overrides), runtime)


def weights_of(run_dir, step):
    """The backbone and, in the order of the classes, the centres of a checkpoint."""
    checkpoint = open_checkpoint(run_dir / "checkpoints" / f"step-{step:08d}")
    replicated = checkpoint.tensor_file("replicated.safetensors")
    world = checkpoint.document(STATE)["world"]
    tables = [
        checkpoint.tensor_file(f"rank-{r:05d}-of-{world:05d}.safetensors").get("head.table") for r in range(world)
    ]
    backbone = {key: replicated.get(key) for key in replicated.keys() if key.startswith("backbone.")}  # noqa: SIM118
    return backbone, torch.cat(tables)


@pytest.mark.parametrize(("written", "read"), CHANGES)
@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adamw", marks=pytest.mark.nightly)])
def test_another_number_of_ranks_goes_on_with_the_same_losses_and_weights(tmp_path, written, read, optimizer):
    """Ten steps after a change of ranks, 101 classes in uneven shards; without BatchNorm, whose batch is a rank's."""
    options = ("optimizer=adamw", "lr=0.001") if optimizer == "adamw" else ()
    run_ranks(without_norms, written, tmp_path / "whole", 16, *options)
    run_ranks(without_norms, written, tmp_path / "parts", 6, *options)
    run_ranks(without_norms, read, tmp_path / "parts", 16, *options)
    expected, found = (read_rows(tmp_path / name / "run", "train") for name in ("whole", "parts"))
    assert [row["step"] for row in found] == list(range(1, 17))
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected], rel=1e-5)
    assert [row["lr"] for row in found] == [row["lr"] for row in expected]
    (backbone, centers), (same_backbone, same_centers) = (
        weights_of(tmp_path / name / "run", 16) for name in ("whole", "parts")
    )
    # Weights first, then what the optimizer keeps of them. One last bit of the first layer moves a first moment by 8e-5
    # of the 2 that the largest is, and no weight by more than 1e-7.
    differ_P = (centers - same_centers).abs().amax((0, 1, 3))
    assert differ_P[0] <= 1e-5
    assert (differ_P <= 1e-3 * centers.abs().amax((0, 1, 3))).all()
    for key, value in backbone.items():
        assert (value - same_backbone[key]).abs().max() <= 1e-5, key
    note = (tmp_path / "parts" / "run" / "training.log").read_text()
    assert f"written by {written} rank(s), now there are {read}" in note


def centres_now(runtime, folder, *overrides):
    """All centres of the run in `folder` as this number of ranks takes them up, brought up to date."""
    cfg = small(folder, *ELASTIC, f"batch_size={12 // runtime.world}", "num_classes=101", "verbose=99", *overrides)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "build_backbone", linear)
        take_step = assembly.build_step(cfg, runtime)
    checkpoint = open_checkpoint(folder / "run" / "checkpoints" / "step-00000006", runtime)
    restore(take_step, checkpoint)
    centers = take_step.head.centers
    take_step.head.flush()
    rows_KPD = centers.table_KCPD[: centers.num_local, 0].clone()
    count = centers.touches(torch.arange(centers.num_local))
    return rows_KPD, count if isinstance(count, torch.Tensor) else torch.full((centers.num_local,), count)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("rate", [0.3, 0.05])
def test_sampled_centres_are_dealt_out_with_all_that_they_owe(tmp_path, optimizer, rate):
    """Sampled classes differ with the ranks that draw them, so what is compared is the state that they start from."""
    overrides = (f"sample_rate={rate}", f"optimizer={optimizer}", "lr=0.01")
    run_ranks(without_norms, 2, tmp_path, 6, *overrides)
    expected = [torch.cat(parts) for parts in zip(*run_ranks(centres_now, 2, tmp_path, *overrides))]
    assert len(set(expected[1].tolist())) > 1 or optimizer == "sgd"
    for world in (1, 3, 4):
        found = [torch.cat(parts) for parts in zip(*run_ranks(centres_now, world, tmp_path, *overrides))]
        assert torch.equal(found[0], expected[0])
        if optimizer == "adamw":
            assert torch.equal(found[1], expected[1])
        run_ranks(without_norms, world, tmp_path, 8 + world, *overrides)
    steps = [row["step"] for row in read_rows(tmp_path / "run", "train")]
    assert steps == list(range(1, 13))


def test_statistics_become_the_mean_of_the_ranks_that_were(tmp_path):
    run_ranks(without_report, 2, tmp_path, "max_steps=4")
    files = [
        open_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000004").tensor_file(
            f"rank-0000{r}-of-00002.safetensors"
        )
        for r in range(2)
    ]
    mean = torch.stack([file.get("backbone.bn1.running_mean") for file in files]).mean(0)
    assert not torch.equal(files[0].get("backbone.bn1.running_mean"), mean)
    cfg = small(tmp_path, "num_image=400", "num_classes=21")
    take_step = assembly.build_step(cfg, Runtime())
    restore(take_step, open_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000004"))
    assert torch.equal(take_step.backbone.bn1.running_mean, mean)


def test_another_global_batch_goes_on_at_the_sample_where_it_stopped(tmp_path):
    run(Runtime(), tmp_path, "max_steps=5", "batch_size=8")
    run(Runtime(), tmp_path, "max_steps=8", "batch_size=6")
    rows = read_rows(tmp_path / "run", "train")
    # 40 samples were seen: six steps of six, and four samples more.
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 7, 8]
    assert "what was step 5 counts as step 6" in (tmp_path / "run" / "training.log").read_text()
    document = open_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000007").document(STATE)
    assert document["samples"] == 40 + 2 * 6


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run_dir = run(Runtime(), tmp_path)
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file() and path.name != "training.log"}
    assert run(Runtime(), tmp_path) == run_dir
    after = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file() and path.name != "training.log"}
    assert after == before
    assert "finished; resume=False starts it anew" in (run_dir / "training.log").read_text()
    assert json.loads((run_dir / "status.json").read_text())["state"] == "finished"


def test_a_run_that_died_while_it_reported_reports_when_it_is_started_again(tmp_path, monkeypatch):
    from recognition.training import loop

    with monkeypatch.context() as patch:
        patch.setattr(loop, "finish_run", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(Runtime(), tmp_path)
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"
    run_dir = run(Runtime(), tmp_path)
    assert (run_dir / "report" / "index.html").is_file()
    assert [row["step"] for row in read_rows(run_dir, "train")] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("lr=0.05", r"lr=0\.05 \(the checkpoint has 0\.1\)"),
        ("network=mbf_tiny", r"network=mbf_tiny \(the checkpoint has r_tiny\)"),
        ("seed=3", r"seed=3 \(the checkpoint has 2048\)"),
        ("num_epoch=2", r"num_epoch=2\.0"),
        ("sample_rate=0.5", "sample_rate"),
        ("margin_list=(1,0,0.4)", "margin_list"),
    ],
)
def test_a_config_that_contradicts_an_unfinished_run_is_an_error(tmp_path, change, message):
    run(Runtime(), tmp_path, "max_steps=3")
    (tmp_path / "run" / "status.json").unlink()
    with pytest.raises(InputError, match=message) as error:
        run(Runtime(), tmp_path, change)
    assert "resume=False" in str(error.value)
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == [1, 2, 3]


def test_a_finished_run_makes_room_for_another_config(tmp_path):
    run(Runtime(), tmp_path, "max_steps=3")
    run(Runtime(), tmp_path, "lr=0.05", "max_steps=3")
    assert (tmp_path / "run.old-1" / "report").is_dir()
    assert [row["lr"] for row in read_rows(tmp_path / "run", "train")][0] == 0.05


def test_resume_false_starts_anew_and_true_wants_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        run(Runtime(), tmp_path, "resume=True")
    run(Runtime(), tmp_path, "max_steps=3")
    run(Runtime(), tmp_path, "max_steps=2", "resume=False")
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == [1, 2]
    run(Runtime(), tmp_path, "max_steps=4", "resume=True")
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "change",
    ["val_targets=[]", "checkpoint_steps=1"]
    + [pytest.param(change, marks=pytest.mark.nightly) for change in ("num_workers=0", "frequent=3", "notes=hello")],
)
def test_what_only_says_where_and_how_it_runs_may_change(tmp_path, change):
    whole = run(Runtime(), tmp_path / "whole")
    run(Runtime(), tmp_path / "parts", "max_steps=3")
    parts = run(Runtime(), tmp_path / "parts", change)
    assert digests(parts) == digests(whole)


def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_the_same(tmp_path):
    whole = run(Runtime(), tmp_path / "whole")
    run(Runtime(), tmp_path / "parts", "max_steps=5", "checkpoint_steps=3")
    file = tmp_path / "parts" / "run" / "checkpoints" / "step-00000005" / "replicated.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    run(Runtime(), tmp_path / "parts")
    log = (tmp_path / "parts" / "run" / "training.log").read_text()
    assert "step-00000005 is passed over" in log
    assert "replicated.safetensors" in log
    assert "going on from" in log
    assert digests(tmp_path / "parts" / "run") == digests(whole)
