"""Models that a run has left in checkpoints only: verified, exported, and what is said of damaged ones."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from launch import export, verify
from recognition.backbones import build_backbone
from recognition.checkpoint.opening import open_checkpoint
from recognition.embedding.models import open_embedder
from recognition.runtime import Runtime
from recognition.targets.pairs import PairsTarget
from recognition.training.loop import train
from recognition.verification import load_pairs
from recognition.weights import weights_sha256
from tests.commands import run
from tests.ranks import run_ranks
from tests.training.small_runs import small, unreported
from tests.verification.synthetic import pair_file

QUICKLY = ("--diagnose", "off", "--replicates", 20)


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
    words = (stopped / place, "--targets", stopped / "small.bin", *QUICKLY)
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
    words = ("--targets", stopped / "small.bin", *QUICKLY)
    assert run(verify, later, *words, monkeypatch=monkeypatch) == 2
    stderr = capfd.readouterr().err
    assert stderr.count("\n") == 1
    assert "manifest.json is of step 2, which its folder's name denies" in stderr
    assert run(verify, run_dir, *words, monkeypatch=monkeypatch) == 0
    assert "small: accuracy" in capfd.readouterr().out
