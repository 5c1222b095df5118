"""launch/verify.py when something fails on the way: what was scored is in the report, and what was not is named."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from launch import verify
from recognition.embedding.models import open_embedder
from recognition.export.onnx_file import export_onnx
from recognition.runtime import Runtime
from recognition.targets.pairs import PairsTarget
from recognition.verification import load_pairs
from recognition.verification.pairs import write_pairs
from tests.commands import launch, run
from tests.pictures import jpeg
from tests.verification.synthetic import pair_file


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A recogniser of one matrix that every change of its input changes, and pairs for it."""
    folder = tmp_path_factory.mktemp("linear")
    torch.manual_seed(0)
    export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8)), folder / "model.onnx", {"image_size": 16})
    pair_file(folder / "small.bin", num_pairs=20, size=16)
    return folder


def test_a_damaged_picture_ends_all_ranks_with_its_name_and_exit_code_2(linear, tmp_path):
    images = [jpeg(index) for index in range(40)]
    images[38] = images[38][:-30]  # in the second rank's share, after whole batches
    write_pairs(tmp_path / "torn.bin", images, [index % 2 == 0 for index in range(20)])
    words = (linear / "model.onnx", "--targets", tmp_path / "torn.bin", "--batch-size", 4, "--out", tmp_path / "out")
    done = launch("verify.py", *words, ranks=2)
    assert done.returncode != 0
    assert "torn.bin: image 38 (pair 19, first picture): not a readable JPEG" in done.stderr
    assert "exitcode  : 2" in done.stderr  # the cause as torchrun tells it
    assert "Traceback" not in done.stderr.partition("torn.bin: image 38")[0]
    (target,) = json.loads((tmp_path / "out" / "report.json").read_text())["targets"]
    assert target["outcomes"] == []
    assert "image 38" in target["failed"][0]["reason"]


def test_what_fails_late_is_in_a_report_with_what_did_not(linear, tmp_path, monkeypatch, capfd):
    """Two sets, the second with a torn picture, and a model that gives NaN beside one that does not."""
    graph = onnx.load(linear / "model.onnx")
    weight = next(tensor for tensor in graph.graph.initializer if len(tensor.dims) == 2)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full(list(weight.dims), np.nan, np.float32), weight.name))
    onnx.save(graph, tmp_path / "nan.onnx")
    pairs = load_pairs(linear / "small.bin")
    torn = [jpeg(index, 16) for index in range(40)]
    torn[31] = torn[31][:-40]
    write_pairs(tmp_path / "torn.bin", torn, pairs.issame)
    words = (linear / "model.onnx", tmp_path / "nan.onnx", "--targets", linear / "small.bin", tmp_path / "torn.bin")
    assert run(verify, *words, "--out", tmp_path / "report", "--diagnose", "off", monkeypatch=monkeypatch) == 2
    out, err = capfd.readouterr()
    assert err.startswith("error: there are no figures of nan.onnx on small (and 2 more): 40 of 40 embeddings are NaN")
    assert len(err.splitlines()) == 1
    facts = json.loads((tmp_path / "report" / "report.json").read_text())
    small, broken = facts["targets"]
    assert (small["models"], [entry["model"] for entry in small["failed"]]) == ([0], [1])
    assert small["failed"][0]["finding"]["name"] == "nan"
    assert (
        small["outcomes"][0]["accuracy"]
        == PairsTarget("a", pairs).score(open_embedder(linear / "model.onnx"), runtime=Runtime()).result.accuracy
    )
    assert (broken["outcomes"], [entry["model"] for entry in broken["failed"]]) == ([], [0, 1])
    assert all("torn.bin" in entry["reason"] and "31" in entry["reason"] for entry in broken["failed"])
    assert f"report: {tmp_path / 'report' / 'index.html'}" in out


def test_what_was_scored_before_ctrl_c_is_in_a_report(linear, tmp_path, monkeypatch, capfd):
    """Of three sets with two models, one set, and of the next one model; the rest is named with its reason."""
    sets = [pair_file(tmp_path / f"{name}.bin", num_pairs=20, size=16) for name in ("first", "second", "third")]
    shutil.copy(linear / "model.onnx", tmp_path / "same.onnx")
    score = PairsTarget.score

    def interrupted(self, model, **options):
        if self.name == "second" and str(model.facts["file"]).endswith("same.onnx"):
            raise KeyboardInterrupt
        return score(self, model, **options)

    monkeypatch.setattr(PairsTarget, "score", interrupted)
    words = (linear / "model.onnx", tmp_path / "same.onnx", "--targets", *sets, "--out", tmp_path / "r")
    more = ("--diagnose", "off", "--replicates", 0)
    assert run(verify, *words, *more, monkeypatch=monkeypatch) == 130
    out, err = capfd.readouterr()
    assert err == "stopped: interrupted; files that were complete stay as they are\n"
    facts = json.loads((tmp_path / "r" / "report.json").read_text())
    assert [(target["name"], target["models"]) for target in facts["targets"]] == [
        ("first", [0, 1]),
        ("second", [0]),
        ("third", []),
    ]
    reason = "the command ended before (KeyboardInterrupt)"
    assert [[(entry["model"], entry["reason"]) for entry in target["failed"]] for target in facts["targets"]] == [
        [],
        [(1, reason)],
        [(0, reason), (1, reason)],
    ]
    for page in ("index.html", "report.md"):
        assert f"third, model.onnx, same.onnx: no figures.** {reason}" in (tmp_path / "r" / page).read_text().replace(
            "</strong>", "**"
        )
