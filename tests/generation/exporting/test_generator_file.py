"""A generator's ONNX file: equal to PyTorch for any batch and all attributes, in the opset asked for, and described."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import recognition.export.onnx_file
from generation.exporting.generator_file import export_generator, label_patterns
from recognition.errors import InputError
from recognition.export.onnx_file import ParityError
from recognition.weights import plain_state, weights_sha256
from tests.generation.exporting.small_generator import NAMES, all_labels, checkpoint_of, session_of, stored_in


@pytest.fixture(scope="module")
def checkpoint():
    return checkpoint_of()


@pytest.fixture(scope="module")
def file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("generator") / "g.onnx"
    assert export_generator(checkpoint, path) < 1e-4
    return path


def pytorch(checkpoint, feed, *, ema=True):
    with torch.no_grad():
        return checkpoint.generator(ema)(*map(torch.from_numpy, feed.values())).numpy()


@pytest.mark.parametrize("batch", [1, 2, 5, 7])
def test_any_batch_and_all_attributes_agree_with_pytorch(file, checkpoint, batch):
    session = session_of(file)
    assert [(entry.name, entry.type, entry.shape) for entry in session.get_inputs()] == [
        ("image", "tensor(float)", ["batch", 3, 32, 32]),
        ("labels", "tensor(float)", ["batch", 3]),
    ]
    assert [(entry.name, entry.shape[0]) for entry in session.get_outputs()] == [("edited", "batch")]
    draw = np.random.default_rng(batch)
    for labels_A in all_labels(3):
        image = draw.uniform(-1, 1, (batch, 3, 32, 32)).astype(np.float32)
        feed = {"image": image, "labels": np.tile(labels_A, (batch, 1))}
        np.testing.assert_allclose(session.run(None, feed)[0], pytorch(checkpoint, feed), rtol=0, atol=1e-4)


def test_the_file_says_what_it_is(file, checkpoint):
    assert stored_in(file) == {
        "kind": "stargan_generator",
        "precision": "fp32",
        "attributes": list(NAMES),
        "exclusive": False,
        "image_size": 32,
        "channel_order": "RGB",
        "mean": 127.5,
        "std": 127.5,
        "value_range": [-1, 1],
        "epoch": 4,
        "ema": True,
        "sha256": weights_sha256(plain_state(checkpoint.generator(True))),
    }
    assert [entry.name for entry in file.parent.iterdir()] == ["g.onnx"]


def test_the_weights_as_trained_where_they_are_asked_for(checkpoint, tmp_path):
    export_generator(checkpoint, tmp_path / "g.onnx", ema=False)
    feed = {"image": np.full((1, 3, 32, 32), 0.5, np.float32), "labels": np.ones((1, 3), np.float32)}
    feed["image"][:, :, 8:] = -0.5
    found = session_of(tmp_path / "g.onnx").run(None, feed)[0]
    np.testing.assert_allclose(found, pytorch(checkpoint, feed, ema=False), rtol=0, atol=1e-4)
    assert np.abs(found - pytorch(checkpoint, feed)).max() > 0.01
    assert stored_in(tmp_path / "g.onnx")["ema"] is False


@pytest.mark.parametrize("opset", [11, 17, 20])
def test_the_opset_is_the_one_that_was_asked_for(checkpoint, tmp_path, opset):
    export_generator(checkpoint, tmp_path / "g.onnx", opset=opset)
    model = onnx.load(tmp_path / "g.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    feed = {"image": np.zeros((2, 3, 32, 32), np.float32), "labels": all_labels(3)[:2]}
    feed["image"][:, 0, ::3] = 1
    found = session_of(tmp_path / "g.onnx").run(None, feed)[0]
    np.testing.assert_allclose(found, pytorch(checkpoint, feed), rtol=0, atol=1e-4)


@pytest.mark.parametrize("opset", [10, 21])
def test_an_opset_that_is_not_written_is_refused(checkpoint, tmp_path, opset):
    with pytest.raises(InputError, match=f"--opset {opset}: from 11 to 20"):
        export_generator(checkpoint, tmp_path / "g.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def test_a_file_in_another_opset_than_asked_for_is_refused(checkpoint, tmp_path, monkeypatch):
    export = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda *given, **named: export(*given, **named | {"opset_version": 18}))
    with pytest.raises(ParityError, match="opset 18 where 11 was asked for"):
        export_generator(checkpoint, tmp_path / "g.onnx", opset=11)
    assert not list(tmp_path.iterdir())


def test_instance_norms_have_no_running_statistics(file):
    nodes = onnx.load(file).graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("InstanceNormalization") == 9  # three on the way down, two in each block, two on the way up
    assert "BatchNormalization" not in kinds


def test_any_size_where_it_is_asked_for(checkpoint, tmp_path, file):
    export_generator(checkpoint, tmp_path / "g.onnx", any_size=True)
    session = session_of(tmp_path / "g.onnx")
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    feed = {
        "image": np.random.default_rng(0).uniform(-1, 1, (2, 3, 20, 44)).astype(np.float32),
        "labels": all_labels(3)[3:5],
    }
    np.testing.assert_allclose(session.run(None, feed)[0], pytorch(checkpoint, feed), rtol=0, atol=1e-4)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        session_of(file).run(None, feed)


class Forgetful(nn.Module):
    """As the generator, but when it is traced the last attribute changes nothing."""

    def __init__(self, generator):
        super().__init__()
        self.generator, self.c_dim = generator, generator.c_dim

    def forward(self, image, labels):
        if torch.jit.is_tracing():
            labels = torch.cat([labels[:, :-1], torch.zeros_like(labels[:, -1:])], dim=1)
        return self.generator(image, labels)


def test_a_file_that_is_wrong_for_some_attributes_is_refused(checkpoint, tmp_path, monkeypatch):
    right = checkpoint.generator()
    monkeypatch.setattr(type(checkpoint), "generator", lambda self, ema=True: Forgetful(right))
    with pytest.raises(ParityError, match=r"differs from PyTorch by .* \(absolute\) at batch"):
        export_generator(checkpoint, tmp_path / "g.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "rows"), [(1, 2), (3, 8), (5, 32), (6, 32), (40, 42)])
def test_patterns_are_all_there_are_or_each_alone_and_more(count, rows):
    patterns_PA = label_patterns(count)
    assert patterns_PA.shape == (rows, count)
    assert set(np.unique(patterns_PA)) == {0.0, 1.0}
    kinds = {tuple(row) for row in patterns_PA}
    if 2**count <= 32:
        assert len(kinds) == 2**count
    assert {(0.0,) * count, (1.0,) * count, *(tuple(row) for row in np.eye(count))} <= kinds


def test_every_pattern_is_compared(checkpoint, tmp_path, monkeypatch):
    seen = set()
    largest = recognition.export.onnx_file._largest_difference

    def noted(module, path, form, compared, *, name):
        compared = list(compared)
        seen.update((len(feed["image"]), tuple(row)) for feed in compared for row in feed["labels"])
        return largest(module, path, form, compared, name=name)

    monkeypatch.setattr(recognition.export.onnx_file, "_largest_difference", noted)
    export_generator(checkpoint, tmp_path / "g.onnx")
    assert {batch for batch, _ in seen} == {1, 2, 7}
    assert {row for batch, row in seen if batch == 7} == {tuple(row) for row in all_labels(3)}
