"""Runs that start from runs: the backbone and the class centres that one wrote are those that the next begins with."""

import csv
import shutil

import pytest
import torch

from recognition.checkpoint.opening import open_checkpoint
from recognition.errors import InputError
from recognition.head.initial import initial_centers
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.training.step import TrainStep
from tests.ranks import run_ranks
from tests.training.small_runs import copied, digests, small, unreported

CLASSES, STEPS = 21, 5
SETTINGS = {
    "all": (),
    "sampled": ("sample_rate=0.2",),
    "skip": ("sample_rate=0.2", "lazy=skip"),
    "adamw": ("sample_rate=0.2", "optimizer=adamw", "lr=0.001"),
    "in files": ("sample_rate=0.2", "centers=mmap:{folder}/centers"),
    "subcenters": ("loss=subcenter_arcface", "sub_centers=2", "sample_rate=0.2"),
}


def run_config(folder, *overrides):
    data = ("num_image=400", f"num_classes={CLASSES}", "image_size=16", "batch_size=2")
    overrides = [text.format(folder=folder) for text in overrides]
    return small(folder, *data, "checkpoint_keep=99", "verbose=99", f"max_steps={STEPS}", *overrides)


def first_run(runtime, folder, *overrides):
    """Train in `folder`/run; centres (K, c, D) of this rank's head after it, brought up to date only then."""
    taken = []

    class KeptStep(TrainStep):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            taken.append(self)

    with pytest.MonkeyPatch.context() as patch, unreported():
        patch.setattr(assembly, "TrainStep", KeptStep)
        train(run_config(folder, *overrides), runtime)
    return taken[0].head.weight.unflatten(0, (taken[0].head.num_local, -1)).clone()


def started(runtime, folder, *overrides):
    """Backbone, centres (K, c, D) of this rank, and remarks, of a run that is about to take its first step."""
    remarks = []
    take_step = assembly.build_step(run_config(folder, *overrides), runtime, remarks=remarks)
    head = take_step.head
    return copied(take_step.backbone), head.weight.unflatten(0, (head.num_local, -1)).clone(), remarks


def stored_backbone(run_dir):
    """The backbone in the checkpoint of the last step; its statistics are the mean over two ranks."""
    checkpoint = open_checkpoint(run_dir / "checkpoints" / f"step-{STEPS:08d}")
    first, second, replicated = (checkpoint.tensor_file(name) for name in checkpoint.names if name != "state.json")
    state = {name: replicated.get(name) for name in replicated.keys() if name.startswith("backbone.")}  # noqa: SIM118
    for name in (name for name in first.keys() if name.startswith("backbone.")):  # noqa: SIM118
        value = first.get(name)
        state[name] = (value + second.get(name)) / 2 if value.is_floating_point() else value
    return {name.removeprefix("backbone."): value for name, value in state.items()}


def clocks(run_dir):
    checkpoint = open_checkpoint(run_dir / "checkpoints" / f"step-{STEPS:08d}")
    files = (checkpoint.tensor_file(f"rank-0000{rank}-of-00002.safetensors") for rank in range(2))
    return torch.cat([file.get("head.clock") for file in files])


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


# The old label of each of 26: the others are new, and five of the old ones are no longer there.
OLD = {label: (label * 8 + 3) % CLASSES for label in range(CLASSES) if label not in (0, 3, 7, 9, 12, 20)} | {24: 3}


def class_map(folder):
    with open(folder / "map.csv", "w", newline="") as file:
        csv.writer(file).writerows([("label", "old_label"), *sorted(OLD.items(), key=lambda pair: pair[1])])
    return f"class_map={folder / 'map.csv'}"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_checkpoint_of_two_ranks_starts_runs_of_any_number_with_its_centres(tmp_path, name):
    first = tmp_path / "first"
    old = torch.cat(run_ranks(first_run, 2, first, *SETTINGS[name]))
    if name not in ("all", "subcenters"):
        assert len(set(clocks(first / "run").tolist())) > 1
    if name == "in files":
        assert -1 in clocks(first / "run")
    # Another seed, so that what starts fresh is told from what was never touched there.
    other = [text for text in SETTINGS[name] if not text.startswith("centers")]
    options = (*other, f"init={first / 'run'}", "seed=7", "num_classes=26")
    fresh = initial_centers(torch.arange(26), old.shape[1], 32, seed=7)
    for world in (1, 3):
        parts = run_ranks(started, world, tmp_path / "next", *options, class_map(tmp_path))
        centers = torch.cat([part[1] for part in parts])
        for label in range(26):
            assert torch.equal(centers[label], old[OLD[label]] if label in OLD else fresh[label]), label
        for backbone, _, remarks in parts:
            assert_same(backbone, stored_backbone(first / "run"))
            assert len(remarks) == (remarks is parts[0][2])
        assert f"class centres of {len(OLD)} identities persist, {26 - len(OLD)} start fresh" in parts[0][2][0]
    (part,) = run_ranks(started, 1, tmp_path / "next", *options, "class_map=same")
    assert torch.equal(part[1], torch.cat([old, fresh[CLASSES:]]))


def test_rows_that_owe_are_not_what_lies_in_the_file(tmp_path):
    """Else the test above would not notice a reader that forgets to settle."""
    old = torch.cat(run_ranks(first_run, 2, tmp_path, *SETTINGS["sampled"]))
    checkpoint = open_checkpoint(tmp_path / "run" / "checkpoints" / f"step-{STEPS:08d}")
    files = (checkpoint.tensor_file(f"rank-0000{rank}-of-00002.safetensors") for rank in range(2))
    assert not torch.equal(torch.cat([file.get("head.table")[:, :, 0] for file in files]), old)


def test_one_checkpoint_of_several_is_taken_by_name(tmp_path):
    run_ranks(first_run, 2, tmp_path, "checkpoint_steps=1")
    early, late = (tmp_path / "run" / "checkpoints" / f"step-0000000{step}" for step in (2, STEPS))
    (backbone, centers, (line,)), (newest, other, _) = (
        started(Runtime(), tmp_path / "next", f"init={path}", "class_map=same") for path in (early, tmp_path / "run")
    )
    assert f"init: backbone of {early}; " in line
    assert not torch.equal(backbone["fc.weight"], newest["fc.weight"])
    assert not torch.equal(centers, other)
    assert_same(newest, started(Runtime(), tmp_path / "next", f"init={late}")[0])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two steps with all that it leaves."""
    folder = tmp_path_factory.mktemp("finished")
    return train(run_config(folder, "max_steps=2", "ema_decay=0.9", "dropout=0.1"), Runtime())


@pytest.mark.parametrize("name", [".", "model.safetensors", "model.pt", "backbone.pth"])
def test_models_of_a_run_start_the_next(finished, tmp_path, name):
    shutil.copy(finished / "model.pt", tmp_path / "backbone.pth")
    path = tmp_path / name if name == "backbone.pth" else finished / name
    expected = torch.load(finished / "model.pt", weights_only=True)
    with unreported():
        train(run_config(tmp_path, f"init={path}", "max_steps=1"), Runtime())
    assert_same(started(Runtime(), tmp_path / "next", f"init={path}")[0], expected)
    note = f"init: backbone of {path / 'model.safetensors' if name == '.' else path}; all {CLASSES} class centres start"
    assert note in (tmp_path / "run" / "training.log").read_text()


def test_a_run_directory_has_the_centres_beside_the_model(finished, tmp_path):
    backbone, centers, _ = started(Runtime(), tmp_path, f"init={finished}", "class_map=same", "seed=3")
    assert_same(backbone, torch.load(finished / "model.pt", weights_only=True))
    stored = open_checkpoint(finished / "checkpoints" / "step-00000002").tensor_file("rank-00000-of-00001.safetensors")
    assert torch.equal(centers, stored.get("head.table")[:, :, 0])


@pytest.mark.parametrize(
    ("what", "overrides", "words"),
    [
        ("run", ["network=mbf_tiny"], "does not fit network 'mbf_tiny'"),
        (
            "checkpoint",
            ["embedding_size=16"],
            "embedding_size=32, but the run has embedding_size=16; set embedding_size=32",
        ),
        ("checkpoint", ["image_size=32"], "the run has image_size=32; set image_size=16"),
        ("run", ["loss=subcenter_arcface", "class_map=same"], "sub_centers=1, those of the run 3"),
    ],
)
def test_what_does_not_fit_is_one_line_before_the_run_begins(finished, tmp_path, what, overrides, words):
    path = finished if what == "run" else finished / "checkpoints" / "step-00000002"
    with pytest.raises(InputError, match=words) as error:
        train(run_config(tmp_path, f"init={path}", *overrides), Runtime())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_that_goes_on_does_not_start_from_its_model_again(finished, tmp_path, world):
    source = shutil.copytree(finished, tmp_path / "source")
    options = (f"init={source}", "class_map=same", "lr_factors=['backbone:0.1']", "freeze=['layer1']")
    run_ranks(first_run, world, tmp_path / "whole", *options)
    run_ranks(first_run, world, tmp_path / "parts", *options, "max_steps=2")
    shutil.rmtree(source)
    run_ranks(first_run, world, tmp_path / "parts", *options)
    assert digests(tmp_path / "parts" / "run", STEPS) == digests(tmp_path / "whole" / "run", STEPS)
    assert [row["step"] for row in read_rows(tmp_path / "parts" / "run", "train")] == list(range(1, STEPS + 1))
    assert (tmp_path / "parts" / "run" / "training.log").read_text().count("note: init: backbone of") == 1
