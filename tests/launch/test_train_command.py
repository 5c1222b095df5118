"""launch/train.py as a user meets it: one line for each mistake, torchrun that ends when a rank does."""

import os
import pickle

import pytest

from recognition.records.packing import pack_folder
from tests.commands import launch
from tests.conftest import CONFIGS
from tests.pictures import write_people


def tiny(tmp_path, *overrides):
    config = CONFIGS / "ms1mv3_mbf.py"
    return [config, "tiny=True", f"output={tmp_path / 'run'}", "export_onnx=False", *overrides]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A record set of 3 people with 6 pictures each."""
    folder = tmp_path_factory.mktemp("people")
    write_people(folder / "people", {"p0": 6, "p1": 6, "p2": 6}, size=112)
    pack_folder(folder / "people", folder / "train", image_size=112)
    return folder / "train"


def damaged(packed, tmp_path, change):
    """A copy of the set with its .rec bytes changed, and without checksums, which would say no more than that."""
    copy = tmp_path / "damaged"
    copy.mkdir()
    for file in (packed / "train.rec", packed / "train.idx", packed / "property"):
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "train.rec").write_bytes(change((packed / "train.rec").read_bytes()))
    return copy


def corrupt_first_jpeg(data):
    start = data.index(b"\xff\xd8\xff")
    return data[: start + 300] + b"\xff\xd9" + bytes(400) + data[start + 702 :]


def real_data(folder):
    return [f"rec={folder}", "num_classes=None", "num_image=None", "batch_size=6", "val_targets=[]"]


def assert_one_line(result, *words):
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert [word for word in words if word not in lines[0]] == []


def test_missing_config_file():
    assert_one_line(launch("train.py", "configs/ms1mv3_r5O.py"), "ms1mv3_r5O.py", "ms1mv3_r50")


def test_wrong_key_names_the_nearest(tmp_path):
    assert_one_line(launch("train.py", *tiny(tmp_path, "batchsize=4")), "batchsize", "batch_size")


def test_wrong_type(tmp_path):
    assert_one_line(launch("train.py", *tiny(tmp_path, "batch_size=many")), "batch_size", "whole number", "many")


def test_missing_data(tmp_path):
    assert_one_line(launch("train.py", *tiny(tmp_path, "rec=/no/such/place")), "/no/such/place", "does not exist")


def test_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    assert_one_line(launch("train.py", *tiny(tmp_path, f"rec={tmp_path / 'empty'}")), "empty")


def test_truncated_record(packed, tmp_path):
    folder = damaged(packed, tmp_path, lambda data: data[: len(data) // 2])
    assert_one_line(launch("train.py", *tiny(tmp_path, *real_data(folder))), "train.rec", "key", "offset")


def test_corrupt_jpeg(packed, tmp_path):
    folder = damaged(packed, tmp_path, corrupt_first_jpeg)
    assert_one_line(launch("train.py", *tiny(tmp_path, *real_data(folder))), "train.rec", "key 1", "JPEG")


def test_labels_beyond_num_classes(packed, tmp_path):
    result = launch("train.py", *tiny(tmp_path, *real_data(packed), "num_classes=2"))
    assert_one_line(result, "3 identities", "num_classes=2")


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_malicious_verification_set(packed, tmp_path):
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(([Payload(tmp_path / "executed")], [True])))
    overrides = [*real_data(packed), "val_targets=[evil]", f"val_dir={tmp_path}"]
    assert_one_line(launch("train.py", *tiny(tmp_path, *overrides)), "evil.bin", "system")
    assert not (tmp_path / "executed").exists()


def test_two_ranks_train_on_records_and_the_run_verifies(packed, tmp_path):
    result = launch("train.py", *tiny(tmp_path, *real_data(packed), "sample_rate=0.5"), ranks=2)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert "report" in result.stdout


def test_an_error_on_one_rank_ends_all_of_them_and_is_shown(packed, tmp_path):
    folder = damaged(packed, tmp_path, corrupt_first_jpeg)
    result = launch("train.py", *tiny(tmp_path, *real_data(folder), "batch_size=3"), ranks=2, timeout_s=100)
    assert result.returncode != 0
    assert "not a readable JPEG" in result.stderr
