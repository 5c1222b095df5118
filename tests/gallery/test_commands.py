"""What the arguments of launch/embed.py come to."""

import argparse

import pytest
import torch

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.gallery.commands import add_faces, aligner_of
from tests.faces.small_models import write_yunet


def aligner(*words, size):
    parser = argparse.ArgumentParser()
    add_faces(parser)
    return aligner_of(parser.parse_args([str(word) for word in words]), Embedder(torch.nn.Flatten(), size, {}))


def test_faces_are_found_as_it_was_said_and_aligned_to_what_the_model_takes(tmp_path):
    detector = "--detector", write_yunet(tmp_path / "yunet.onnx", {})
    plain = aligner(*detector, size=None)
    assert (plain.choice, plain.min_score, plain.min_size, plain.size) == ("largest", 0.6, 32, 112)
    told = aligner(*detector, "--face", "central", "--min-score", 0.7, "--min-size", 50, size=(64, 64))
    assert (told.choice, told.min_score, told.min_size, told.size) == ("central", 0.7, 50, 64)
    assert told.detector.min_score == pytest.approx(0.3)  # fainter ones are told from none
    with pytest.raises(InputError, match="takes 96x112 pixels, and aligned faces are square"):
        aligner(*detector, size=(112, 96))
    assert aligner(size=(112, 96)) is None
