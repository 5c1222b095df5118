"""The keys that name the training set, from a file and from the command line, down to a run that reads it."""

import json

import pytest

from recognition.config import ConfigError, load_config
from recognition.data.sources import JoinedSource
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.assembly import open_training_set
from recognition.training.evaluation import open_targets
from recognition.training.loop import train
from tests.conftest import CONFIGS
from tests.data.source_kinds import CLASSES, LABELS, PICTURES, SHARDS, hugging_face_set, write_records, write_tar
from tests.data.source_kinds import hugging_face as hugging_face
from tests.training.small_runs import small, unreported


def of_file(tmp_path, *lines):
    path = tmp_path / "mine.py"
    path.write_text("\n".join(["from easydict import EasyDict as edict", "config = edict()", *lines]))
    return load_config(path)


def of_line(*overrides):
    return load_config(CONFIGS / "base.py", overrides)


def shards(folder):
    """The pictures in three tar shards; returns a pattern for them."""
    for number, part in enumerate(SHARDS):
        write_tar(folder / f"train-{number:03}.tar", PICTURES[part])
    return f"{folder}/train-{{000..002}}.tar"


@pytest.mark.parametrize("value", ['["a", "b"]', '("a", "b")'])
def test_a_list_in_a_file_is_a_list(tmp_path, value):
    assert of_file(tmp_path, f"config.rec = {value}").rec == ("a", "b")


@pytest.mark.parametrize(
    ("text", "rec"),
    [
        ("faces", "faces"),
        ("'faces'", "faces"),
        ("a,b", "a,b"),
        ("['a', 'b']", ("a", "b")),
        ("t-{000..003}.tar", "t-{000..003}.tar"),
        ("2024", "2024"),
    ],
)
def test_rec_on_the_command_line(text, rec):
    assert of_line(f"rec={text}").rec == rec


def test_wrong_types_and_no_set_at_all_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="rec wants text or a list of text.* not 5"):
        of_file(tmp_path, "config.rec = 5")
    with pytest.raises(ConfigError, match="rec wants text or a list of text"):
        of_file(tmp_path, "config.rec = [1, 2]")
    for none in ("[]", "''"):
        with pytest.raises(ConfigError, match="rec is not set"):
            of_file(tmp_path, f"config.rec = {none}")
    with pytest.raises(ConfigError, match="rec_labels.*'shared'.*'apart'|rec_labels.*shared.*apart"):
        of_line("rec=a", "rec_labels=own")


def test_rec_given_twice_is_what_a_shell_made_of_braces():
    with pytest.raises(ConfigError, match=r"rec is given more than once; put a pattern in quotes"):
        of_line("rec=t-000.tar", "rec=t-001.tar")
    assert of_line("rec=a", "seed=1", "seed=2").seed == 2


def test_the_tiny_twin_has_faces_of_its_own(tmp_path):
    lines = (
        'config.rec = ["a", "b"]',
        'config.rec_labels = "apart"',
        'config.image_column = "x"',
        "config.tiny = True",
    )
    cfg = of_file(tmp_path, *lines)
    assert (cfg.rec, cfg.rec_labels, cfg.image_column, cfg.label_column) == ("synthetic", "shared", None, None)


@pytest.mark.parametrize(("rec_labels", "classes"), [("shared", CLASSES), ("apart", 2 + 2 + 5)])
def test_the_keys_reach_the_source(tmp_path, rec_labels, classes):
    pattern = shards(tmp_path)
    source, cfg, _ = open_training_set(of_line(f"rec={pattern}", f"rec_labels={rec_labels}"))
    assert isinstance(source, JoinedSource)
    assert (cfg.num_classes, cfg.num_image) == (classes, len(PICTURES))
    assert (source.labels().tolist() == LABELS) == (rec_labels == "shared")


def test_the_columns_reach_the_source(tmp_path, hugging_face):
    plain = hugging_face_set(PICTURES).rename_columns({"image": "crop", "label": "who"})
    plain.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="set image_column"):
        open_training_set(of_line(f"rec={tmp_path}"))
    source, _, _ = open_training_set(of_line(f"rec={tmp_path}", "image_column=crop", "label_column=who"))
    assert source.labels().tolist() == LABELS


def test_verification_sets_are_looked_for_in_the_folder_of_the_first(tmp_path):
    rec = f"{shards(tmp_path / 'a')},b"
    with pytest.raises(InputError, match=str(tmp_path / "a" / "lfw.bin")):
        open_targets(of_line(f"rec={rec}", "val_targets=lfw"), Runtime())
    with pytest.raises(InputError, match=str(tmp_path / "elsewhere" / "lfw.bin")):
        open_targets(of_line(f"rec={rec}", "val_targets=lfw", f"val_dir={tmp_path / 'elsewhere'}"), Runtime())


@pytest.mark.parametrize("kind", ["tar shards", "record files"])
def test_a_run_trains_on_several_files_and_goes_on(tmp_path, kind):
    rec = shards(tmp_path / "set")
    if kind == "record files":
        rec = ",".join(
            str(write_records(tmp_path / f"{n}" / "train.rec", PICTURES[part])) for n, part in enumerate(SHARDS)
        )
    keys = (f"rec={rec}", "image_size=16", "batch_size=4")
    with unreported():
        train(small(tmp_path, *keys, "max_steps=2"), Runtime())
        train(small(tmp_path, *keys, "max_steps=4"), Runtime())
    entries = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert len(entries) == 2
    assert entries[0]["data_sha256"] == entries[1]["data_sha256"] is not None
