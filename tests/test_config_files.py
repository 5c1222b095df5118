"""Config files as files: which one is meant, what it may import, and how one that does not run is named."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recognition.config import load_config
from tests.conftest import CONFIGS, ROOT
from tests.test_config import complaint, config_file


def test_a_missing_file_names_the_nearest():
    assert "did you mean configs/glint360k_r50.py?" in complaint(Path("configs/glint360k_r5O.py"))
    assert "configs/ has ready-made ones" in complaint(Path("nowhere/q"))


def test_the_suffix_does_not_matter():
    assert load_config(CONFIGS / "glint360k_r50").num_classes == 360_232


def test_a_configs_folder_in_the_working_directory_does_not_replace_ours(tmp_path):
    (tmp_path / "configs").mkdir()
    for name in ("__init__", "base", "datasets", "recipes"):
        (tmp_path / "configs" / f"{name}.py").write_text("raise SystemError('not ours')\n")
    code = "from recognition.config import load_config; print(load_config('configs/glint360k_r50').num_classes)"
    found = os.pathsep.join(["", str(ROOT)])
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": found},
        capture_output=True,
        text=True,
    )
    assert run.stdout == "360232\n", run.stderr


def test_a_file_may_import_its_siblings_and_ours(tmp_path):
    folder = tmp_path / "configs"
    config_file(folder, "config.lr = 0.7", name="shared_part.py")
    path = config_file(
        folder, "import shared_part", "from configs.shared_part import config as part", "from configs import datasets",
        "config.update(part)", "config.rec = datasets.MS1MV3.rec", "assert shared_part.config.lr == 0.7",
    )  # fmt: skip
    importlib.import_module("configs.datasets")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "configs"}, list(sys.path)
    cfg = load_config(path)
    assert (cfg.lr, cfg.rec) == (0.7, "/train_tmp/ms1m-retinaface-t1")
    after = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "configs"}
    assert (after, sys.path) == before
    assert "shared_part" not in sys.modules
    assert not list(folder.rglob("*.pyc"))


def test_a_sibling_goes_before_ours_of_the_same_name(tmp_path):
    folder = tmp_path / "configs"
    config_file(folder, "config.lr = 0.4", name="base.py")
    path = config_file(folder, "from configs.base import config as theirs", "config.update(theirs)")
    assert load_config(path).lr == 0.4


def test_files_do_not_see_what_other_files_changed(tmp_path):
    path = config_file(
        tmp_path, "from configs.datasets import MS1MV3 as config", "config.num_classes = (config.num_classes or 0) + 1"
    )
    assert load_config(path).num_classes == load_config(path).num_classes == 93_432
    assert load_config(CONFIGS / "ms1mv3_r50.py").num_classes == 93_431


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("config = edict(\n", "mine.py:1: SyntaxError"),
        ("x = 1\nconfig = edict()\n", "mine.py:2: NameError"),
        ("import no_such_module_at_all\n", "mine.py:1: ModuleNotFoundError"),
        ("cfg = {}\n", "defines no `config`"),
        ("config = [1]\n", "defines no `config`"),
    ],
)
def test_a_file_that_does_not_run_is_named_with_its_line(tmp_path, source, message):
    path = tmp_path / "mine.py"
    path.write_text(source)
    assert message in complaint(path)


def test_a_plain_dict_will_do(tmp_path):
    path = tmp_path / "plain.py"
    path.write_text("from pathlib import Path\nconfig = dict(rec=Path('faces'), val_targets='lfw')\n")
    cfg = load_config(path)
    assert (cfg.rec, cfg.val_targets, cfg.output_dir) == ("faces", ("lfw",), Path("work_dirs/plain"))
