"""What a run says of its code, config and data: equal for equal ones, another for any other, and never an error."""

import dataclasses
import json
import os
import shutil
import subprocess
import time
from datetime import datetime, timezone

import numpy as np
import pytest
import torch

from recognition.backbones import build_backbone
from recognition.config import TrainConfig, load_config
from recognition.data.label_noise import NoisySource, parse_noise
from recognition.data.sources import SyntheticSource, open_source
from recognition.provenance import (
    NOT_HASHED,
    add_provenance,
    code_commit,
    config_sha256,
    data_sha256,
    newest_provenance,
    provenance,
)
from recognition.records.packing import pack_folder
from recognition.runtime import Runtime
from recognition.training.finish import finish_run
from tests.conftest import CONFIGS, FIXTURES, ROOT
from tests.pictures import write_people
from tests.training.small_runs import small

RECORDS = FIXTURES / "recordio" / "insightface"


def config(*overrides):
    return load_config(CONFIGS / "base.py", ["rec=synthetic", "num_classes=20", "num_image=200", *overrides])


def git(folder, *arguments):
    names = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *names, "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "code.py").write_text("one\n")
    git(folder, "add", "code.py")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", "v1")
    return folder


def test_the_commit_is_gits_and_says_when_files_were_changed(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert code_commit(checkout) == commit
    (checkout / "notes.txt").write_text("not tracked\n")
    assert code_commit(checkout) == commit
    (checkout / "code.py").write_text("two\n")
    assert code_commit(checkout) == f"{commit}-dirty"


def test_no_commit_without_a_checkout_of_its_own(checkout, tmp_path, monkeypatch):
    inside = checkout / "site-packages"
    inside.mkdir()
    assert code_commit(inside) is None
    assert code_commit(tmp_path / "nowhere") is None
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ".git").write_text("gitdir: /nowhere\n")
    assert code_commit(tmp_path / "broken") is None
    monkeypatch.setenv("PATH", str(tmp_path))  # no git there
    assert code_commit(checkout) is None


def test_the_hash_of_a_config_is_of_what_makes_numbers():
    plain = config_sha256(config())
    assert len(plain) == 64
    assert config_sha256(config()) == plain
    for free in ("output=elsewhere", "device=cpu", "threads=3", "frequent=1", "wandb_key=secret", "num_workers=0"):
        assert config_sha256(config(free)) == plain, free
    others = ["lr=0.2", "seed=1", "network=r18", "num_epoch=2", "batch_size=64", "sample_rate=0.5", "flip=False"]
    assert len({plain, *(config_sha256(config(other)) for other in others)}) == 1 + len(others)


def test_each_key_left_out_is_a_key_and_each_other_key_counts():
    cfg = config()
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert fields >= NOT_HASHED
    plain = config_sha256(cfg)
    for key in fields:
        changed = dataclasses.replace(cfg)
        object.__setattr__(changed, key, "something else")  # past the rules: any other value
        assert (config_sha256(changed) == plain) == (key in NOT_HASHED), key


def record_copy(tmp_path, change=lambda rec: rec):
    folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
    shutil.copytree(RECORDS, folder)
    (folder / "train.rec").write_bytes(change((folder / "train.rec").read_bytes()))
    return open_source(folder)


def test_record_sets_are_told_apart_wherever_they_lie(tmp_path, monkeypatch):
    monkeypatch.setattr("recognition.provenance._ENDS_BYTES", 256)  # both ends, not the whole small file
    expected = data_sha256(open_source(RECORDS))
    assert data_sha256(record_copy(tmp_path)) == expected
    others = [
        record_copy(tmp_path, lambda rec: rec[:100] + bytes([rec[100] ^ 1]) + rec[101:]),
        record_copy(tmp_path, lambda rec: rec[:-100] + bytes([rec[-100] ^ 1]) + rec[-99:]),
        record_copy(tmp_path, lambda rec: rec + bytes(8)),
        open_source(RECORDS, num_classes=99),
    ]
    assert len({expected, *map(data_sha256, others)}) == 5


def test_another_index_is_another_set(tmp_path):
    source = record_copy(tmp_path)
    expected = data_sha256(source)
    for name in ("keys", "offsets"):
        values = getattr(source.reader, name)
        changed = values.copy()
        changed[-1] += 4
        setattr(source.reader, name, changed)
        assert data_sha256(source) != expected
        setattr(source.reader, name, values)
    assert data_sha256(source) == expected


def test_folders_are_told_apart_by_names_sizes_and_labels(tmp_path):
    def people(name, who):
        return open_source(write_people(tmp_path / name, who, size=32))

    expected = data_sha256(people("a", {"ann": 3, "bob": 2}))
    assert data_sha256(people("b", {"ann": 3, "bob": 2})) == expected
    others = [people("c", {"ann": 3, "bo": 2}), people("d", {"ann": 2, "bob": 3})]
    longer = people("e", {"ann": 3, "bob": 2})
    with open(longer.paths[1], "ab") as file:
        file.write(b"\0")
    relabelled = people("f", {"ann": 3, "bob": 2})
    relabelled.labels()[0] = 1
    others += [longer, relabelled]
    assert len({expected, *map(data_sha256, others)}) == 5


def test_synthetic_sets_are_their_parameters_and_noise_counts():
    def synthetic(**changes):
        return SyntheticSource(**{"num_classes": 5, "num_image": 40, "seed": 1, "image_size": 8, **changes})

    expected = data_sha256(synthetic())
    assert data_sha256(synthetic()) == expected
    others = [synthetic(num_classes=6), synthetic(num_image=41), synthetic(seed=2), synthetic(image_size=9)]
    others += [NoisySource(synthetic(), parse_noise(f"flip:{share}"), seed=1) for share in (0.2, 0.3)]
    others += [NoisySource(synthetic(), parse_noise("flip:0.2"), seed=2)]
    others += [NoisySource(synthetic(seed=2), parse_noise("flip:0.2"), seed=1)]
    assert len({expected, *map(data_sha256, others)}) == 1 + len(others)


def test_files_that_are_gone_have_no_hash(tmp_path):
    source = open_source(write_people(tmp_path / "people", {"ann": 3, "bob": 2}, size=32))
    os.unlink(source.paths[0])
    assert data_sha256(source) is None


def test_a_set_of_millions_takes_seconds(tmp_path):
    pack_folder(write_people(tmp_path / "people", {"ann": 2, "bob": 2}, size=32), tmp_path / "set", image_size=32)
    source = open_source(tmp_path / "set")
    source.reader.keys = source.reader.offsets = np.arange(10_000_000)
    started = time.monotonic()
    data_sha256(source)
    assert time.monotonic() - started < 10


def test_the_facts_of_a_start():
    cfg = config("wandb_key=do-not-print-me")
    facts = provenance(cfg, SyntheticSource(num_classes=20, num_image=200), Runtime())
    assert (facts["torch"], facts["numpy"], facts["device"], facts["ranks"]) == (
        *(torch.__version__, np.__version__),
        *("cpu", 1),
    )
    assert facts["commit"] == code_commit(ROOT)
    assert facts["config_sha256"] == config_sha256(cfg)
    age_s = (datetime.now(timezone.utc) - datetime.fromisoformat(facts["started"])).total_seconds()
    assert 0 <= age_s < 60
    assert facts["cpu"]
    assert "do-not-print-me" not in json.dumps(facts)


def test_every_start_of_a_run_is_kept_and_the_newest_told(tmp_path):
    assert newest_provenance(tmp_path) is None
    add_provenance(tmp_path, {"commit": "a"})
    add_provenance(tmp_path, {"commit": "b"})
    assert json.loads((tmp_path / "provenance.json").read_text()) == [{"commit": "a"}, {"commit": "b"}]
    assert newest_provenance(tmp_path) == {"commit": "b"}
    (tmp_path / "provenance.json").write_text("[{")
    assert newest_provenance(tmp_path) is None
    add_provenance(tmp_path, {"commit": "c"})
    assert newest_provenance(tmp_path) == {"commit": "c"}


def test_the_report_of_a_run_carries_its_newest_start(tmp_path):
    cfg = small(tmp_path, "num_image=40")
    add_provenance(tmp_path, {"commit": "older"})
    facts = provenance(cfg, SyntheticSource(num_classes=20, num_image=40), Runtime())
    add_provenance(tmp_path, facts)
    model = build_backbone(cfg.network, cfg.embedding_size, image_size=cfg.image_size)
    finish_run(tmp_path, model, cfg, steps=1, scores={}, targets={})
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["models"][0]["provenance"] == facts
    page = (tmp_path / "report" / "index.html").read_text()
    for key in ("commit", "config_sha256", "data_sha256", "torch"):
        assert facts[key] in page
