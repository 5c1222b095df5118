"""The contact sheet: each tile is the picture that training would see; and the command's output and errors."""

import argparse

import numpy as np
import pytest
import torch
from PIL import Image

from recognition.data.augment import KINDS, augmented, parse_augment
from recognition.data.sources import SyntheticSource, open_source
from recognition.errors import InputError
from recognition.records.commands import augment
from recognition.records.contact_sheet import GAP_PIXELS, LABEL_PIXELS, contact_sheet
from recognition.records.packing import pack_folder
from tests.pictures import write_people
from tests.records.test_records_command import records

SIZE = 32


def tile(sheet, row, column, size=SIZE):
    top, left = LABEL_PIXELS + row * (size + GAP_PIXELS), column * (size + GAP_PIXELS)
    return np.asarray(sheet.convert("RGB"))[top : top + size, left : left + size]


def test_tiles_are_what_training_would_see():
    source = SyntheticSource(num_classes=5, num_image=50, image_size=SIZE)
    kinds = parse_augment(["mask:0.01", "hsv:0.01:hue=90", "crop:1"])
    sheet = contact_sheet(source, kinds, faces=3, seed=7, epoch=2)
    assert sheet.size == (4 * (SIZE + GAP_PIXELS), LABEL_PIXELS + 3 * (SIZE + GAP_PIXELS))
    for row, index in enumerate((0, 16, 33)):  # spread over the source, not all of one person
        picture = source.read(index).payload
        np.testing.assert_array_equal(tile(sheet, row, 0), picture)
        for column, name in enumerate(("hsv:1:hue=90", "crop:1", "mask:1"), 1):
            key = torch.tensor([index]), torch.tensor([2])
            (expected,) = augmented(torch.from_numpy(picture)[None], *key, parse_augment([name]), seed=7)
            np.testing.assert_array_equal(tile(sheet, row, column), expected.numpy())
            assert not np.array_equal(expected.numpy(), picture)
    # A label above each column, nothing in the gaps.
    pixels = np.asarray(sheet)
    for column in range(4):
        assert (pixels[:LABEL_PIXELS, column * (SIZE + GAP_PIXELS) :][:, :SIZE] < 128).any()
    assert (pixels[LABEL_PIXELS + SIZE : LABEL_PIXELS + SIZE + GAP_PIXELS] == 255).all()


def test_pictures_that_are_not_square_are_refused(tmp_path):
    (tmp_path / "one").mkdir()
    Image.new("RGB", (20, 30)).save(tmp_path / "one" / "0.png")
    with pytest.raises(InputError, match=r"one/0.png: is 20x30, not square; pack the set with --image-size 112"):
        contact_sheet(open_source(tmp_path), (), faces=1)


def run(*arguments):
    parser = argparse.ArgumentParser()
    augment.add_arguments(parser)
    augment.run(parser.parse_args(list(map(str, arguments))))


def test_command(tmp_path, capsys):
    pack_folder(write_people(tmp_path / "people", {"a": 4, "b": 4}, size=SIZE), tmp_path / "set")
    out = tmp_path / "sheet.png"
    assert "wrote 4 faces under 8 augmentations to" in records("augment", tmp_path / "set", "--out", out)
    every = Image.open(out).convert("RGB")
    assert every.size[0] == (1 + len(KINDS)) * (SIZE + GAP_PIXELS)
    run(tmp_path / "set", "--out", out, "--faces", 2, "--augment", "crop:0.1", "grey:0.1", "--seed", 3, "--epoch", 1)
    assert capsys.readouterr().out == f"wrote 2 faces under 2 augmentations to {out}\n"
    few = Image.open(out).convert("RGB")
    np.testing.assert_array_equal(tile(few, 0, 0), tile(every, 0, 0))
    source = open_source(tmp_path / "set")
    kinds = parse_augment(["grey:1", "crop:1"])
    np.testing.assert_array_equal(np.asarray(few), np.asarray(contact_sheet(source, kinds, faces=2, seed=3, epoch=1)))


def test_synthetic_faces_of_any_size(tmp_path):
    run("synthetic", "--out", tmp_path / "a.png", "--faces", 2, "--augment", "crop:1", "--image-size", 48)
    face = SyntheticSource(num_classes=2, num_image=2, image_size=48).read(1).payload
    np.testing.assert_array_equal(tile(Image.open(tmp_path / "a.png"), 1, 0, 48), face)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("synthetic", "--out", "a.gif"), "--out a.gif: ends in no .png; name the picture so"),
        (("synthetic", "--out", "a.png", "--augment", "grye:1"), "'grye' is not known; did you mean 'grey'?"),
        (("synthetic", "--out", "a.png", "--faces", "0"), "--faces 0: must be at least 1"),
        (("nowhere", "--out", "a.png"), "rec='nowhere' does not exist"),
        (("people", "--out", "a.png", "--faces", "9"), "people has only 8 pictures; ask for fewer"),
    ],
)
def test_errors_say_what_to_do(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_people(tmp_path / "people", {"a": 4, "b": 4})
    with pytest.raises(InputError) as caught:
        run(*arguments)
    assert message in str(caught.value)
    assert not list(tmp_path.glob("a.*"))
