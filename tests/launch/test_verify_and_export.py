"""The two commands as a user types them: figures, report, ONNX, and one line with exit code 2 for each mistake."""

import json
import sys

import pytest

from launch import export, verify
from recognition.command import run_command
from recognition.weights import save_backbone
from tests.commands import launch
from tests.filling import filled_backbone
from tests.verification.synthetic import pair_file


def run(command, *words, monkeypatch):
    """The command in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        run_command(command.main)
    return ended.value.code


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    module = filled_backbone("mbf_tiny", 16)
    save_backbone(
        folder / "model.safetensors", module, {"network": "mbf_tiny", "embedding_size": 16, "image_size": 112}
    )
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "loss": 3.5, "lr": 0.1}\n' * 2)
    pair_file(folder / "small.bin", num_pairs=20, size=112)
    return folder


def test_export_then_verify_run_and_onnx_on_one_and_two_ranks(run_dir, monkeypatch, capfd):
    assert run(export, run_dir, "--out", run_dir / "model.onnx", monkeypatch=monkeypatch) == 0
    out, err = capfd.readouterr()
    assert ("mbf_tiny" in out, err) == (True, "")
    assert run(verify, run_dir, "--targets", run_dir / "small.bin", monkeypatch=monkeypatch) == 0
    out, err = capfd.readouterr()
    assert (out.startswith("small: accuracy 0."), err) == (True, "")
    report = json.loads((run_dir / "report" / "report.json").read_text())
    assert report["model"]["network"] == "mbf_tiny"
    assert report["training"]["loss"] == [3.5, 3.5]
    words = (run_dir / "model.onnx", "--targets", run_dir / "small.bin", "--out", run_dir / "onnx")
    done = launch("verify.py", *words, ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy") == 1  # one rank talks
    again = json.loads((run_dir / "onnx" / "report.json").read_text())
    assert again["targets"][0]["accuracy"] == report["targets"][0]["accuracy"]
    assert again["model"]["sha256"] == report["model"]["sha256"]


def test_mistakes_are_one_line_and_exit_code_2(run_dir, tmp_path, monkeypatch, capfd):
    pair_file(tmp_path / "other.bin", num_pairs=20, size=96)
    (tmp_path / "evil.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "sentinel").encode() + b"'\ntR.")
    for command, words, message in [
        (verify, (run_dir / "absent", "--targets", run_dir / "small.bin"), "does not exist"),
        (verify, (run_dir, "--targets", run_dir / "absent.bin"), "does not exist"),
        (verify, (run_dir, "--targets", tmp_path / "evil.bin"), "refused, nothing was executed"),
        (verify, (run_dir, "--targets", tmp_path / "other.bin"), "96x96"),
        (export, (run_dir, "--out", tmp_path / "a.onnx", "--network", "r50"), "weights of 'mbf_tiny'"),
        (export, (run_dir, "--out", tmp_path / "a.txt"), "must end in .onnx"),
    ]:
        code = run(command, *words, monkeypatch=monkeypatch)
        stderr = capfd.readouterr().err
        assert code == 2, stderr
        assert stderr.startswith("error: ")
        assert message in stderr
        assert stderr.count("\n") == 1
    assert not (tmp_path / "sentinel").exists()
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.parametrize("command", [verify, export])
def test_help_explains(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["command", "-h"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    assert "python launch/" in capsys.readouterr().out
