"""The commands of launch/parsing.py, as a user calls them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from generation.parsing.opening import open_network, open_parser
from generation.parsing.overlay import COLOURS, overlaid, shares
from launch import parsing
from recognition.export.onnx_file import ParityError
from tests.commands import launch, run
from tests.generation.parsing.small_faces import SIDE, SMALL, face
from tests.generation.parsing.test_celebamask import parts, write_parts


def test_merge(tmp_path, monkeypatch, capfd):
    for number in range(2):
        write_parts(tmp_path, number, parts(number, ("skin", "hair")))
    options = ("--size", 16, "--picture-size", 32)
    assert not run(parsing, "merge", tmp_path, *options, monkeypatch=monkeypatch)
    assert f"merged: 2 masks in {tmp_path / 'masks'}, 0 were there; background" in capfd.readouterr().out
    assert not run(parsing, "merge", tmp_path, *options, monkeypatch=monkeypatch)
    assert "0 masks in" in capfd.readouterr().out
    write_parts(tmp_path, 2, parts(2, ("moustache",)))
    assert run(parsing, "merge", tmp_path, *options, monkeypatch=monkeypatch) == 2
    assert "00002_moustache.png: moustache is no part of a face" in capfd.readouterr().err


def test_draw_and_train_in_a_process_of_its_own(tmp_path, monkeypatch, capfd):
    assert not run(
        parsing, "draw", tmp_path / "set", "--pictures", 8, "--size", 32, "--workers", 1, monkeypatch=monkeypatch
    )
    words = [word for key, value in SMALL.items() for word in (f"--{key}", value)]
    done = launch("parsing.py", "train", "--data_dir", tmp_path / "set", "--save_dir", tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    assert open_network(tmp_path / "run")[1]["image_size"] == 32
    assert list((tmp_path / "run" / "logs").glob("events.out.*"))


def test_evaluate_counts_as_the_parser_does(trained, faces, tmp_path, monkeypatch, capfd):
    path = tmp_path / "figures.json"
    assert not run(
        parsing,
        "evaluate",
        trained,
        faces,
        "--test_size",
        4,
        "--json",
        path,
        "--sheet",
        tmp_path / "a.png",
        monkeypatch=monkeypatch,
    )
    figures = json.loads(path.read_text())
    factor = 96 // SIDE  # so small pictures are enlarged
    sheet = np.asarray(Image.open(tmp_path / "a.png"))[:96:factor, :96:factor]
    assert np.array_equal(sheet, face(12)[0])
    both = [(mask, open_parser(trained)(pixels)) for pixels, mask in map(face, range(12, 16))]
    truth, found = (np.stack(each) for each in zip(*both))
    for name, number in (("background", 0), ("skin", 1), ("hair", 17)):
        of, got = truth == number, found == number
        assert figures["iou"][name] == pytest.approx((of & got).sum() / (of | got).sum(), abs=1e-12)
    assert figures["accuracy"] == pytest.approx((truth == found).mean(), abs=1e-12)
    assert figures["iou"]["nose"] is None
    assert "over the classes that occur" in capfd.readouterr().out


def test_parse_writes_masks_overlays_and_shares(trained, tmp_path, monkeypatch, capfd):
    (tmp_path / "in").mkdir()
    pixels, _ = face(50)
    wide = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    Image.fromarray(pixels).save(tmp_path / "in" / "one.png")
    Image.fromarray(wide).save(tmp_path / "in" / "two.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert not run(parsing, "parse", trained, tmp_path / "in", "--out", out, monkeypatch=monkeypatch)
    said = capfd.readouterr()
    assert "parsed: 2 of 3 pictures" in said.out
    parser = open_parser(trained)
    content = json.loads((out / "shares.json").read_text())
    for name, picture in (("one", pixels), ("two", wide)):
        mask = np.asarray(Image.open(out / "masks" / f"{name}.png"))
        assert np.array_equal(mask, parser(picture))
        of = content["shares"][f"{name}.png"]
        assert of == {key: value for key, value in shares(mask).items()}
        assert sum(of.values()) == pytest.approx(1)
        overlay = np.asarray(Image.open(out / "overlays" / f"{name}.png"))
        height, width = mask.shape
        assert np.array_equal(overlay[:height, :width], overlaid(picture, mask))
        assert overlay.shape[1] > width
    assert run(parsing, "parse", trained, tmp_path / "nowhere", "--out", out, monkeypatch=monkeypatch) == 2


def test_colours_are_laid_over_all_but_background():
    pixels, mask = np.full((2, 2, 3), 100, np.uint8), np.array([[0, 1], [17, 18]], np.uint8)
    wanted = [[100, 100, 100]] + [np.rint(100 * 0.45 + COLOURS[number] * 0.55).tolist() for number in (1, 17, 18)]
    assert overlaid(pixels, mask).reshape(4, 3).tolist() == wanted
    assert len(np.unique(COLOURS, axis=0)) == 19
    assert shares(mask) == {"background": 0.25, "skin": 0.25, "hair": 0.25, "hat": 0.25}


def test_an_export_parses_as_the_network(trained, tmp_path, monkeypatch, capfd):
    path = tmp_path / "parser.onnx"
    assert not run(parsing, "export", trained, path, monkeypatch=monkeypatch)
    assert "(N, 3, 32, 32) in [-1, 1]; differs from PyTorch by" in capfd.readouterr().out
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    net, _ = open_network(trained)
    for batch in (1, 3):
        img = torch.rand(batch, 3, SIDE, SIDE)
        (found,) = session.run(["logits"], {session.get_inputs()[0].name: (2 * img - 1).numpy()})
        assert np.abs(found - net(img).numpy()).max() < 1e-4
    pixels, _ = face(60)
    assert np.array_equal(open_parser(path)(pixels), open_parser(trained)(pixels))
    assert open_parser(path).facts["image_size"] == SIDE


def test_an_export_that_differs_is_not_written(trained, tmp_path, monkeypatch):
    from generation.parsing import export

    net, facts = open_network(trained)

    class Drifts(export.TakesImg11):
        def forward(self, img11_BCHW):
            moved = super().forward(img11_BCHW)
            return moved if torch.onnx.is_in_onnx_export() else moved + 0.1 * moved.abs().max()

    monkeypatch.setattr(export, "TakesImg11", Drifts)
    with pytest.raises(ParityError, match="differs from PyTorch"):
        export.export_parser(net, tmp_path / "parser.onnx", facts)
    assert not (tmp_path / "parser.onnx").exists()


def test_another_onnx_is_no_parser(tmp_path, monkeypatch, capfd):
    from recognition.export.onnx_file import export_onnx

    export_onnx(torch.nn.Conv2d(3, 19, 1), tmp_path / "other.onnx", {"image_size": 8})
    Image.fromarray(face(0)[0]).save(tmp_path / "a.png")
    words = ("parse", tmp_path / "other.onnx", tmp_path / "a.png", "--out", tmp_path / "out")
    assert run(parsing, *words, monkeypatch=monkeypatch) == 2
    assert "other.onnx is no parser that launch/parsing.py export wrote" in capfd.readouterr().err
