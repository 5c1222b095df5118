"""launch/export.py on a run of launch/stargan.py: files, the table, and what is refused."""

import json

import onnx
import onnxruntime
import pytest

from generation.demo.demonstrations import EDITING
from generation.demo.summary import number_at
from launch import export
from recognition.export.onnx_file import export_onnx
from recognition.weights import save_backbone, write_torch_file
from tests.commands import run
from tests.generation.stargan import small_gan
from tests.settled import settled_backbone


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_gan.write_celeba(tmp_path_factory.mktemp("gan") / "celeba", 24)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return small_gan.run(data, tmp_path_factory.mktemp("gan"), "--num_epochs", 1)


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    path = tmp_path_factory.mktemp("recogniser") / "r.onnx"
    export_onnx(settled_backbone("r_tiny"), path, {"network": "r_tiny", "embedding_size": 32, "image_size": 112})
    return path


def test_files_and_the_table_in_one_go(trained, data, recogniser, tmp_path, monkeypatch, capfd):
    words = ("--int8", "--calibrate", data, "--table", tmp_path / "t.md", "--threads", 1, "--repeats", 1)
    out = tmp_path / "stargan_G.onnx"
    assert run(export, trained, "--out", out, *words, "--recogniser", recogniser, monkeypatch=monkeypatch) == 0
    told, err = capfd.readouterr()
    assert err == ""
    lines = told.splitlines()
    assert lines[0].startswith(f"{out}: generator of epoch 1, fp32, opset 17, 0.1 MB; differs from PyTorch by at most ")
    assert lines[1].startswith(f"{tmp_path / 'stargan_G-int8.onnx'}: generator of epoch 1, int8, 0.0 MB; PSNR to fp32 ")
    assert (tmp_path / "t.md").read_text() in told
    assert lines[-1] == f"table: {tmp_path / 't.md'} and {tmp_path / 't.json'}"
    facts = json.loads((tmp_path / "t.json").read_text(), parse_constant=pytest.fail)
    assert [row["model"] for row in facts["rows"]] == [
        *("PyTorch float32", "ONNX float32", "ONNX int8, static", "ONNX int8, dynamic (not kept)")
    ]
    assert facts["generator"]["attributes"] == list(small_gan.NAMES)
    assert (facts["pictures"]["set"], facts["pictures"]["side"]) == ("celeba", small_gan.SIDE)
    assert all(0 < row["measures"]["identity_cos"] <= 1 for row in facts["rows"])
    (figure,) = (figure for figure in EDITING.figures if figure.file == "onnx/table.json")
    assert number_at(tmp_path / "t.json", figure.where) == facts["rows"][2]["psnr_db_mean"]
    assert "--inception pt_inception" in facts["measures"]["fid"]["why"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("stargan_G-int8.onnx", "stargan_G.onnx", "t.json", "t.md")
    ]


@pytest.mark.parametrize("options", [(), ("--opset", 11), ("--no-ema",), ("--any-size",)])
def test_options_reach_the_file(trained, tmp_path, monkeypatch, capfd, options):
    out = tmp_path / "g.onnx"
    (checkpoint,) = trained.glob("checkpoint_epoch_*.pth")
    assert run(export, checkpoint, "--out", out, *options, monkeypatch=monkeypatch) == 0
    assert capfd.readouterr().err == ""
    session = onnxruntime.InferenceSession(out)
    stored = json.loads(session.get_modelmeta().custom_metadata_map["arcscale"])
    assert onnx.load(out).opset_import[0].version == (11 if "--opset" in options else 17)
    assert stored["ema"] is ("--no-ema" not in options)
    assert (session.get_inputs()[0].shape[3] == "width") is ("--any-size" in options)
    assert [path.name for path in tmp_path.iterdir()] == ["g.onnx"]


def test_without_pictures_the_table_is_of_drawn_faces(trained, tmp_path, monkeypatch, capfd):
    words = ("--out", tmp_path / "g.onnx", "--table", tmp_path / "t.md", "--threads", 1, "--repeats", 1)
    assert run(export, trained, *words, monkeypatch=monkeypatch) == 0
    told = capfd.readouterr().out
    assert "pictures of drawn faces, 16 x 16" in told
    assert "face-FID, identity kept, cosine: n/a, needs a recogniser" in told


def test_mistakes_are_one_line_and_leave_nothing(trained, data, tmp_path, monkeypatch, capfd):
    out = tmp_path / "g.onnx"
    alone = tmp_path / "models"
    alone.mkdir()
    meta = {"network": "r_tiny", "embedding_size": 32, "image_size": 112}
    save_backbone(alone / "model.safetensors", settled_backbone("r_tiny"), meta)
    write_torch_file(alone / "newer.pth", {"format": "arcscale.stargan.9"})
    before = sorted(tmp_path.rglob("*"))
    for words, message in [
        ((trained, "--out", out, "--int8"), "int8 needs pictures like those that will be edited"),
        ((trained, "--out", out, "--int8", "--calibrate", tmp_path / "absent"), "absent is no folder"),
        ((trained, "--out", out, "--int8", "--calibrate", data, "--opset", 11), "int8 needs --opset 13 or above"),
        ((trained, "--out", out, "--precision", "fp16"), "a generator has fp32 and int8"),
        ((trained, "--out", out, "--opset", 9), "--opset 9: from 11 to"),
        ((trained, "--hub", tmp_path / "hub"), "--hub is for recognisers"),
        ((trained, "--out", out, "--network", "r50"), "--network is for recognisers"),
        ((trained, "--out", out, "--targets", "a.bin"), "--targets is for recognisers"),
        ((trained, "--out", out, "--recogniser", tmp_path / "absent.onnx"), "absent.onnx"),
        ((trained / "stargan_G.pth", "--out", out), "holds weights alone"),
        ((alone / "newer.pth", "--out", out), "does not say format arcscale.stargan.1"),
        ((alone, "--out", out, "--any-size"), "--any-size is for generators"),
        ((alone, "--out", out, "--no-ema"), "--no-ema is for generators"),
        ((alone, "--out", out, "--recogniser", "a"), "--recogniser is for generators"),
        ((alone, "--out", out, "--int8", "--opset", 12, "--calibrate", "synthetic"), "int8 needs --opset 13 or above"),
    ]:
        code = run(export, *words, monkeypatch=monkeypatch)
        stderr = capfd.readouterr().err
        assert (code, stderr.count("\n")) == (2, 1), stderr
        assert stderr.startswith("error: ")
        assert message in stderr
        assert sorted(tmp_path.rglob("*")) == before, message
    assert run(export, trained, "--out", out, "--int8", "--precision", "fp32", monkeypatch=monkeypatch) == 2
    assert "give one of the two" in capfd.readouterr().err


def test_a_recogniser_in_the_opset_that_is_asked_for_and_in_8_bits(tmp_path, monkeypatch, capfd):
    meta = {"network": "r_tiny", "embedding_size": 32, "image_size": 112}
    save_backbone(tmp_path / "model.safetensors", settled_backbone("r_tiny"), meta)
    words = ("--int8", "--opset", 13, "--calibrate", "synthetic", "--calibration-pictures", 8)
    assert run(export, tmp_path, "--out", tmp_path / "m.onnx", *words, monkeypatch=monkeypatch) == 0
    for name in ("m.onnx", "m-int8.onnx"):
        assert [entry.version for entry in onnx.load(tmp_path / name).opset_import] == [13]
