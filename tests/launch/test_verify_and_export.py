"""The two commands as a user types them: figures, report, ONNX, and one line with exit code 2 for each mistake."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from launch import export, verify
from recognition.backbones import build_backbone
from recognition.checkpoint.opening import open_checkpoint
from recognition.embedding.models import open_embedder
from recognition.export.onnx_file import export_onnx
from recognition.runtime import Runtime
from recognition.targets.pairs import PairsTarget
from recognition.training.loop import train
from recognition.verification import load_pairs
from recognition.weights import save_backbone, weights_sha256
from tests.commands import launch, run
from tests.filling import filled_backbone
from tests.ranks import run_ranks
from tests.training.small_runs import small, unreported
from tests.verification.synthetic import pair_file


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
    report = json.loads((run_dir / "report-verify" / "report.json").read_text())
    assert not (run_dir / "report").exists()  # the report of the training run itself would stand there
    assert report["models"][0]["network"] == "mbf_tiny"
    assert report["training"]["loss"] == [3.5, 3.5]
    words = (run_dir / "model.onnx", "--targets", run_dir / "small.bin", "--out", run_dir / "onnx")
    done = launch("verify.py", *words, ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy") == 1  # one rank talks
    again = json.loads((run_dir / "onnx" / "report.json").read_text())
    assert again["targets"][0]["outcomes"][0]["accuracy"] == report["targets"][0]["outcomes"][0]["accuracy"]
    assert again["models"][0]["sha256"] == report["models"][0]["sha256"]


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A recogniser of one matrix that every change of its input changes, and pairs for it."""
    folder = tmp_path_factory.mktemp("linear")
    torch.manual_seed(0)
    export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8)), folder / "model.onnx", {"image_size": 16})
    pair_file(folder / "small.bin", num_pairs=20, size=16)
    return folder


@pytest.mark.parametrize(
    "options", [{"bgr": True}, {"mean": 100.0}, {"std": 40.0}, {"bgr": True, "mean": 90.0, "std": 64.0}]
)
def test_the_model_sees_what_the_options_say(linear, tmp_path, monkeypatch, options):
    words = [word for name, value in options.items() for word in (f"--{name}", value) if word is not True]
    model, target = linear / "model.onnx", linear / "small.bin"
    assert run(verify, model, "--targets", target, "--out", tmp_path, *words, monkeypatch=monkeypatch) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    wanted, unchanged = (
        PairsTarget("a", load_pairs(target)).score(open_embedder(model, **chosen), runtime=Runtime())
        for chosen in (options, {})
    )
    found = report["targets"][0]["outcomes"][0]
    assert found["xnorm"] == pytest.approx(wanted.xnorm, rel=1e-6)
    # Beginning with the threshold that accepts nothing, minus infinity, which JSON does not have.
    assert found["roc"]["distance"][1:] == pytest.approx(wanted.result.roc_distances[1:].tolist(), rel=1e-4)
    assert abs(unchanged.xnorm / wanted.xnorm - 1) > 1e-3
    expected = {"channel_order": "BGR" if "bgr" in options else "RGB", "mean": 127.5, "std": 127.5}
    expected |= {name: value for name, value in options.items() if name != "bgr"}
    assert {name: report["models"][0][name] for name in expected} == expected


def test_a_file_without_out_is_only_printed(linear, tmp_path, monkeypatch, capfd):
    (tmp_path / "model.onnx").write_bytes((linear / "model.onnx").read_bytes())
    monkeypatch.chdir(tmp_path)
    target, other = linear / "small.bin", tmp_path / "sub" / "small.bin"
    other.parent.mkdir()
    other.write_bytes(target.read_bytes())
    assert run(verify, "model.onnx", "--targets", target, other, monkeypatch=monkeypatch) == 0
    out = capfd.readouterr().out
    assert "report: " not in out
    first, second = [line for line in out.splitlines() if "accuracy" in line]
    assert first.startswith(f"{target}: ")
    assert second == first.replace(f"{target}: ", f"{other}: ", 1)  # two files of one name are both told
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.onnx", "sub"]


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


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was ended after its first checkpoint, of two ranks, before it stored a model; and pairs for it."""
    folder = tmp_path_factory.mktemp("stopped")
    run_ranks(first_steps, 2, folder)
    for name in ("model.safetensors", "model.pt"):
        (folder / "run" / name).unlink(missing_ok=True)
    pair_file(folder / "small.bin", num_pairs=20, size=32)
    return folder


def first_steps(runtime, folder):
    with unreported():
        train(small(folder, "max_steps=2", "ema_decay=0.9"), runtime)


def whole_state(checkpoint):
    """The moving average as an evaluation takes it: statistics are the mean over the two ranks."""
    files = [load_file(checkpoint / name) for name in sorted(path.name for path in checkpoint.glob("*.safetensors"))]
    own = {
        name: (value + files[1][name]) / 2 if value.is_floating_point() else value
        for name, value in files[0].items()
        if name.startswith("average.")
    }
    shared = {name: value for name, value in files[2].items() if name.startswith("average.")}
    return {name.removeprefix("average."): value for name, value in (own | shared).items()}


@pytest.fixture(scope="module")
def averaged(stopped):
    """The model that its checkpoint stands for."""
    module = build_backbone("r_tiny", 32, image_size=32)
    module.load_state_dict(whole_state(stopped / "run" / "checkpoints" / "step-00000002"))
    return module.eval()


@pytest.mark.parametrize("place", ["run", "run/checkpoints", "run/checkpoints/step-00000002"])
def test_a_run_that_has_only_checkpoints_is_verified(stopped, averaged, tmp_path, monkeypatch, capfd, place):
    words = (stopped / place, "--targets", stopped / "small.bin")
    before = set(stopped.rglob("*"))
    assert run(verify, *words, monkeypatch=monkeypatch) == 0
    # A report goes into a run of its own accord, but not among checkpoints.
    added = {path.relative_to(stopped).parts[:2] for path in set(stopped.rglob("*")) - before}
    assert added == ({("run", "report-verify")} if place == "run" else set())
    assert ("report: " in capfd.readouterr().out) == (place == "run")
    if place != "run":
        assert run(verify, *words, "--out", tmp_path, monkeypatch=monkeypatch) == 0
    out = stopped / "run" / "report-verify" if place == "run" else tmp_path
    report = json.loads((out / "report.json").read_text())
    expected = PairsTarget("a", load_pairs(stopped / "small.bin")).score(averaged, runtime=Runtime())
    assert report["targets"][0]["outcomes"][0]["xnorm"] == pytest.approx(expected.xnorm, rel=1e-5)
    assert report["models"][0]["sha256"] == weights_sha256(averaged.state_dict())
    open_checkpoint(stopped / "run" / "checkpoints" / "step-00000002")


def test_a_checkpoint_is_exported(stopped, averaged, tmp_path, monkeypatch, capfd):
    out = tmp_path / "model.onnx"
    assert run(export, stopped / "run" / "checkpoints", "--out", out, monkeypatch=monkeypatch) == 0
    assert "r_tiny" in capfd.readouterr().out
    assert open_embedder(out).facts["sha256"] == weights_sha256(averaged.state_dict())
    assert run(export, stopped, "--out", out, monkeypatch=monkeypatch) == 2
    assert "holds no model: neither model.safetensors" in capfd.readouterr().err


def test_a_damaged_checkpoint_is_one_line_and_in_a_run_the_one_before_is_taken(stopped, tmp_path, monkeypatch, capfd):
    source = stopped / "run" / "checkpoints" / "step-00000002"
    run_dir = tmp_path / "run"
    shutil.copytree(source, run_dir / "checkpoints" / "step-00000002")
    later = shutil.copytree(source, run_dir / "checkpoints" / "step-00000003")
    words = ("--targets", stopped / "small.bin")
    assert run(verify, later, *words, monkeypatch=monkeypatch) == 2
    stderr = capfd.readouterr().err
    assert stderr.count("\n") == 1
    assert "manifest.json is of step 2, which its folder's name denies" in stderr
    assert run(verify, run_dir, *words, monkeypatch=monkeypatch) == 0
    assert "small: accuracy" in capfd.readouterr().out


@pytest.mark.parametrize("command", [verify, export])
def test_help_explains(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["command", "-h"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    assert "python launch/" in capsys.readouterr().out
