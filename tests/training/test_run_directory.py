"""What is refused before anything is written, and what becomes of earlier runs."""

import sys

import pytest

from recognition.checkpoint.store import CheckpointStore
from recognition.config import config_json
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.loop import train
from recognition.training.run_directory import prepare_run_directory
from recognition.verification.pairs import write_pairs
from tests.pictures import jpeg, write_people
from tests.training.small_runs import small


def test_each_earlier_run_is_set_aside_whole(tmp_path):
    asides = []
    for number in (1, 2, 3):
        cfg = small(tmp_path, f"seed={number}")
        asides.append(prepare_run_directory(cfg))
        (cfg.output_dir / "mine.txt").write_text(f"run {number}")
        assert (cfg.output_dir / "config.json").read_text() == config_json(cfg)
    assert asides == [None, tmp_path / "run.old-1", tmp_path / "run.old-2"]
    for name, number in (("run.old-1", 1), ("run.old-2", 2), ("run", 3)):
        assert (tmp_path / name / "mine.txt").read_text() == f"run {number}"
        assert f'"seed": {number}' in (tmp_path / name / "config.json").read_text()


def test_a_run_says_where_the_earlier_one_went_and_starts_its_numbers_afresh(tmp_path):
    cfg = small(tmp_path, "max_steps=1", "resume=False")
    for _ in range(2):
        run = train(cfg, Runtime())
    assert str(tmp_path / "run.old-1") in (run / "training.log").read_text()
    assert str(tmp_path / "run.old-1") not in (tmp_path / "run.old-1" / "training.log").read_text()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_folder_that_is_no_run_is_used_as_it_is(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("kept")
    assert prepare_run_directory(small(tmp_path)) is None
    assert (tmp_path / "run" / "mine.txt").read_text() == "kept"


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path):
    (tmp_path / "run").write_text("my notes")
    with pytest.raises(InputError, match=r"run is a file"):
        train(small(tmp_path), Runtime())
    assert (tmp_path / "run").read_text() == "my notes"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.fixture
def earlier_run(tmp_path):
    """A run directory in the way; returns a function that tells whether it and its neighbours are as they were."""
    prepare_run_directory(small(tmp_path, "seed=1"))
    before = (tmp_path / "run" / "config.json").read_bytes()

    def is_untouched():
        files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".bin"]
        return files == [tmp_path / "run" / "config.json"] and files[0].read_bytes() == before

    assert is_untouched()
    return is_untouched


@pytest.mark.parametrize(
    ("package", "override", "message"),
    [
        ("wandb", "using_wandb=True", r"pip install .*\[wandb\]"),
        ("nvidia.dali", "dali=True", r"pip install .*\[dali\]"),
    ],
)
def test_a_missing_package_is_named_before_anything_is_written(
    tmp_path, monkeypatch, earlier_run, package, override, message
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=message):
        train(small(tmp_path, override), Runtime())
    assert earlier_run()


@pytest.mark.parametrize(
    ("issame", "size", "message"),
    [
        ([True, False] * 3, 32, "6 pairs cannot make 10 folds"),
        ([True] * 12, 32, "same-person"),
        ([False] * 12, 32, "different-person"),
        ([True, False] * 6, 96, "96x96 pixels, but the run takes 32x32"),
    ],
)
def test_a_set_that_cannot_be_scored_is_named_before_the_first_step(tmp_path, earlier_run, issame, size, message):
    path = tmp_path / "odd.bin"
    write_pairs(path, [jpeg(n, size) for n in range(2 * len(issame))], issame)
    with pytest.raises(InputError, match=message) as error:
        train(small(tmp_path, "val_targets=['odd']", f"val_dir={tmp_path}"), Runtime())
    assert str(path) in str(error.value)
    assert earlier_run()


@pytest.mark.parametrize("place", ["data", "elsewhere"])
def test_sets_are_looked_for_where_val_dir_says_or_else_beside_the_data(tmp_path, place):
    write_people_and_pairs(tmp_path, place)
    overrides = [f"rec={tmp_path / 'data'}", "val_targets=['mine']", "max_steps=1", "num_classes=None"]
    if place == "elsewhere":
        overrides.append(f"val_dir={tmp_path / place}")
    run = train(small(tmp_path, *overrides), Runtime())
    assert '"target": "mine"' in (run / "metrics.jsonl").read_text()


def write_people_and_pairs(folder, place):
    write_people(folder / "data", {"ann": 5, "bob": 4}, size=32)
    pairs = 12
    write_pairs(folder / place / "mine.bin", [jpeg(n, 32) for n in range(2 * pairs)], [True, False] * (pairs // 2))


def test_a_living_run_is_neither_moved_nor_joined(tmp_path):
    run = train(small(tmp_path, "max_steps=1"), Runtime())
    before = sorted(run.rglob("*"))
    with CheckpointStore(run / "checkpoints", Runtime()):
        for options in (("resume=False",), ("max_steps=2",)):
            with pytest.raises(InputError, match="in use by another run"):
                train(small(tmp_path, *options), Runtime())
    assert sorted(run.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    train(small(tmp_path, "max_steps=2"), Runtime())
