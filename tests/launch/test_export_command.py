"""launch/export.py as a user types it: all precisions and the table, folder, check, and one line for mistakes."""

import json
import os

import numpy as np
import onnx
import pytest
import torch

from launch import export, verify
from recognition.embedding.models import open_embedder
from recognition.export.onnx_file import export_onnx
from recognition.weights import save_backbone
from tests.commands import run
from tests.pictures import write_people
from tests.settled import faces, settled_backbone
from tests.verification.synthetic import pair_file

META = {"network": "r_tiny", "embedding_size": 64, "image_size": 112}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run directory with pairs and pictures beside it."""
    folder = tmp_path_factory.mktemp("place")
    save_backbone(folder / "run" / "model.safetensors", settled_backbone("r_tiny", 64), META)
    pair_file(folder / "small.bin", num_pairs=20, size=112)
    write_people(folder / "people", {"a": 3, "b": 2}, size=112)
    return folder


def test_every_precision_and_the_table_in_one_go(place, tmp_path, monkeypatch, capfd):
    words = ("--precision", "fp32", "fp16", "int8", "--calibrate", "synthetic", "--calibration-pictures", 32)
    table = ("--targets", place / "small.bin", "--table", tmp_path / "table.md", "--threads", 1, "--repeats", 1)
    assert run(export, place / "run", "--out", tmp_path / "m.onnx", *words, *table, monkeypatch=monkeypatch) == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == [
        str(tmp_path / name) for name in ("m.onnx", "m-fp16.onnx", "m-int8.onnx")
    ]
    assert "differs from PyTorch by at most" in lines[0]
    assert all("cosine to fp32 0.99" in line or "cosine to fp32 1.0" in line for line in lines[1:3])
    assert (tmp_path / "table.md").read_text() in out
    facts = json.loads((tmp_path / "table.json").read_text())
    assert run(verify, place / "run", "--targets", place / "small.bin", monkeypatch=monkeypatch) == 0
    report = json.loads((place / "run" / "report-verify" / "report.json").read_text())
    assert facts["files"][0]["accuracy"]["small"] == report["targets"][0]["outcomes"][0]["accuracy"]
    assert [entry["size_bytes"] for entry in facts["files"]] == [
        os.stat(tmp_path / name).st_size for name in ("m.onnx", "m-fp16.onnx", "m-int8.onnx")
    ]
    assert (facts["machine"]["threads"], facts["machine"]["repeats"]) == (1, 1)
    words = ("--compare", tmp_path / "m-int8.onnx", "--threads", 1, "--repeats", 1)
    assert run(export, tmp_path / "m.onnx", *words, monkeypatch=monkeypatch) == 0
    assert "| m-int8.onnx |" in capfd.readouterr().out


def test_a_folder_for_hugging_face_opens_again(place, tmp_path, monkeypatch, capfd):
    words = ("--hub", tmp_path / "mine", "--license", "mit", "--datasets", "me/faces", "--precision", "fp16")
    assert run(export, place / "run", *words, monkeypatch=monkeypatch) == 0
    out, err = capfd.readouterr()
    assert (f"hf upload USER/NAME {tmp_path / 'mine'}" in out, err) == (True, "")
    assert (tmp_path / "mine" / "onnx" / "model-fp16.onnx").is_file()
    card = (tmp_path / "mine" / "README.md").read_text()
    assert all(text in card for text in ('license: "mit"', "me/faces", "`onnx/model-fp16.onnx`"))
    assert run(verify, tmp_path / "mine", "--targets", place / "small.bin", monkeypatch=monkeypatch) == 0
    assert capfd.readouterr().out.startswith("small: accuracy 0.")
    report = tmp_path / "mine" / "report-verify" / "report.json"
    accuracy = json.loads(report.read_text())["targets"][0]["outcomes"][0]["accuracy"]
    words = ("--hub", tmp_path / "again", "--report", report)
    assert run(export, tmp_path / "mine", *words, monkeypatch=monkeypatch) == 0
    assert f"| small | {accuracy:.4f} |" in (tmp_path / "again" / "README.md").read_text()


def test_the_check_ends_in_1_when_a_rule_is_broken(place, tmp_path, monkeypatch, capfd):
    path = tmp_path / "m.onnx"
    export_onnx(settled_backbone("r_tiny", 64), path, META)
    words = ("--check", "--threads", 1, "--json", tmp_path / "a.json", "--calibrate", place / "people")
    assert run(export, path, *words, monkeypatch=monkeypatch) == 0
    out, err = capfd.readouterr()
    assert (out.splitlines()[-1], err) == (f"{path}: every rule is kept", "")
    assert out.count("\npass  ") + out.startswith("pass  ") == 10
    assert json.loads((tmp_path / "a.json").read_text())["passed"] is True
    assert run(export, path, *words, "--max-embedding", 63, monkeypatch=monkeypatch) == 1
    out, err = capfd.readouterr()
    assert (out.splitlines()[-1], err) == (f"{path}: 1 of 10 rules broken", "")
    assert "FAIL  embeddings of at most 63 numbers: 64" in out
    facts = json.loads((tmp_path / "a.json").read_text())
    assert (facts["passed"], [r["rule"] for r in facts["rules"] if not r["passed"]]) == (
        *(False, ["embeddings of at most 63 numbers"]),
    )


def test_mistakes_are_one_line_and_leave_nothing(place, tmp_path, monkeypatch, capfd):
    model, out = place / "run", tmp_path / "m.onnx"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for words, message in [
        ((model, "--out", out, "--precision", "int8"), "--calibrate"),
        ((model, "--out", out, "--precision", "int8", "--calibrate", tmp_path / "absent"), "absent"),
        ((model, "--out", out, "--precision", "int8", "--calibrate", tmp_path / "full"), "full"),
        ((model, "--out", tmp_path / "m.txt"), "must end in .onnx"),
        ((model, "--out", out, "--table", tmp_path / "t.txt"), "must end in .md"),
        ((model, "--hub", tmp_path / "full"), "holds other files"),
        ((model, "--hub", tmp_path / "new", "--license", "My License"), "is no identifier"),
        ((model, "--hub", tmp_path / "new", "--report", tmp_path / "absent.json"), "absent.json"),
        ((model, "--hub", tmp_path / "new", "--table", tmp_path / "t.md"), "ask for some with --out or --precision"),
        ((model, "--out", out, "--targets", tmp_path / "absent.bin"), "absent.bin does not exist"),
        ((model, "--out", out, "--targets", f"all:{place / 'people'}"), "people is no set of pairs"),
        ((model, "--out", out, "--targets", place / "small.bin", place / "small.bin"), "small.bin twice"),
        ((model, "--compare", out), "is none"),
        ((out, "--compare", out), "does not exist"),
        ((out, "--check"), "does not exist"),
        ((model / "model.safetensors", "--check"), "is not an ONNX file"),
        ((tmp_path / "absent", "--out", out), "does not exist"),
    ]:
        code = run(export, *words, monkeypatch=monkeypatch)
        stderr = capfd.readouterr().err
        assert (code, stderr.count("\n")) == (2, 1), stderr
        assert stderr.startswith("error: ")
        assert message in stderr
        assert sorted(tmp_path.rglob("*")) == before, message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["m"], "say what to do"),
        (["m", "--out", "a.onnx", "--check"], "use one command for each"),
        (["m", "--out", "a.onnx", "--precision", "int4"], "invalid choice: 'int4'"),
        (["m", "--check", "--threads", "0"], "at least 1"),
    ],
)
def test_words_that_do_not_go_together(words, message, monkeypatch, capfd):
    assert run(export, *words, monkeypatch=monkeypatch) == 2
    assert message in capfd.readouterr().err


@pytest.mark.parametrize("network", ["mbf_tiny", "r_tiny", "vit_tiny"])
def test_every_network_takes_any_batch(tmp_path, monkeypatch, network):
    """insightface#2406: mbf exported by arcface_torch fails for more than one picture."""
    save_backbone(
        tmp_path / "model.safetensors", settled_backbone(network), META | {"embedding_size": 32, "network": network}
    )
    assert run(export, tmp_path, "--out", tmp_path / "m.onnx", monkeypatch=monkeypatch) == 0
    shape = onnx.load(tmp_path / "m.onnx").graph.input[0].type.tensor_type.shape
    assert shape.dim[0].dim_param == "batch"
    x_NCHW = torch.from_numpy(faces().astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1)
    model = open_embedder(tmp_path / "m.onnx")
    alone = torch.cat([model(x_NCHW[n : n + 1]) for n in range(11)])
    torch.testing.assert_close(model(x_NCHW[:11]), alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["m.onnx", "./m.onnx", "new folder/with space/m.onnx", "ünïcode.onnx"])
def test_any_path_is_taken_as_it_is_written(place, tmp_path, monkeypatch, name):
    """insightface#1799, #2065: relative paths, folders that are not there yet, blanks."""
    monkeypatch.chdir(tmp_path)
    assert run(export, place / "run", "--out", name, monkeypatch=monkeypatch) == 0
    assert [path.name for path in tmp_path.rglob("*.onnx")] == [name.rpartition("/")[2]]
    assert open_embedder(name).facts["network"] == "r_tiny"
