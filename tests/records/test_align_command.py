"""`records.py align`, `pack --align` and `pairs --align` as a user types them: options, output, one-line errors."""

import argparse

import numpy as np
import pytest

from recognition.errors import InputError
from recognition.faces.photos import Aligner
from recognition.records.commands.arguments import add_encoding
from recognition.records.commands.faces import add_alignment, open_prepare
from recognition.records.encode import Encoder
from recognition.verification.pairs import load_pairs
from tests.commands import launch
from tests.faces.small_models import SIDE, write_yunet
from tests.pictures import write_people

# A face of 48x48 pixels in the middle of whatever is shown.
FIND = {(8, 36): (0.81, 1, (0, 0, np.log(6), np.log(6)), np.ravel([[-1, -1], [1, -1], [0, 0], [-0.8, 1], [0.8, 1]]))}


@pytest.fixture
def detector(tmp_path):
    return write_yunet(tmp_path / "detector.onnx", FIND)


@pytest.fixture
def photos(tmp_path):
    """Two people, three photos each, and a file that is no picture."""
    folder = write_people(tmp_path / "photos", {"anna": 3, "bert": 3}, size=SIDE)
    (folder / "bert" / "9.jpg").write_text("no picture")
    return folder


def records(*arguments, code: int = 0) -> str:
    done = launch("records.py", *arguments, timeout_s=100)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


def test_align(photos, detector, tmp_path):
    out = tmp_path / "out"
    lines = records("align", photos, out, "--detector", detector, "--image-size", 224).splitlines()
    assert lines[0] == f"aligned 6 photos of 2 identities into {out}"
    assert lines[1] == f"note: 1 pictures were left out: 1 unreadable; {out / 'failures.html'} shows them"
    assert len(list(out.glob("*/*.jpg"))) == 6


def test_pack_and_pairs_align(photos, detector, tmp_path):
    out = tmp_path / "set"
    lines = records("pack", photos, out, "--align", "--detector", detector).splitlines()
    assert lines[0] == f"packed 6 images of 2 identities into {out / 'train.rec'}"
    assert lines[1] == f"note: 1 pictures were left out: 1 unreadable; {out / 'failures.html'} shows them"
    assert (out / "property").read_text() == "2,112,112"
    (tmp_path / "pairs.csv").write_text("anna/0.jpg,anna/1.jpg,1\nanna/0.jpg,bert/9.jpg,0\nanna/0.jpg,bert/1.jpg,0\n")
    pairs = ("pairs", photos, tmp_path / "a.bin", "--list", tmp_path / "pairs.csv", "--align", "--detector", detector)
    assert "bert/9.jpg: unreadable" in records(*pairs, code=2)
    records(*pairs, "--skip-bad")
    assert load_pairs(tmp_path / "a.bin").images.shape == (4, 112, 112, 3)


def test_no_detector_is_one_line_that_says_where_one_is(photos, tmp_path):
    for arguments in (("align", photos, tmp_path / "out"), ("pack", photos, tmp_path / "out", "--align")):
        lines = records(*arguments, code=2).splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: --detector FILE.onnx is missing; take face_detection_yunet")
    assert not (tmp_path / "out").exists()


def prepare_of(*words):
    parser = argparse.ArgumentParser()
    add_encoding(parser)
    add_alignment(parser)
    return open_prepare(parser.parse_args([str(word) for word in words]))


def test_options_reach_the_aligner(detector):
    usual = prepare_of("--align", "--detector", detector)
    assert (usual.aligner, usual.quality) == (Aligner(usual.aligner.detector), 95)
    words = ["--face", "only", "--min-score", 0.7, "--min-size", 50, "--no-antialias", "--image-size", 224]
    other = prepare_of("--align", "--detector", detector, *words, "--quality", 80)
    assert other.aligner == Aligner(other.aligner.detector, "only", 0.7, 50, 224, antialias=False)
    assert other.quality == 80
    assert other.aligner.detector.min_score == 0.3  # what is less sure is told from nothing at all


def test_without_align_pictures_are_packed_as_they_are(detector):
    assert prepare_of("--image-size", 224) == Encoder(224)
    with pytest.raises(InputError, match="--detector does nothing without --align"):
        prepare_of("--detector", detector)
