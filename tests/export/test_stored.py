"""Bytes of an ONNX file and of what lies beside it, against the file system."""

import os

import onnx
import pytest

from recognition.errors import InputError
from recognition.export.stored import load_graph, size_bytes


def test_a_file_by_itself(written):
    assert size_bytes(written.path("fp32")) == os.stat(written.path("fp32")).st_size


@pytest.mark.parametrize("to_one_file", [True, False])
def test_weights_beside_the_file_count(written, tmp_path, to_one_file):
    path = tmp_path / "a.onnx"
    onnx.save(
        onnx.load(written.path("fp32")),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=to_one_file,
        location="weights.bin" if to_one_file else None,
        size_threshold=1000,
    )
    files = list(tmp_path.iterdir())
    assert (len(files) == 2) == to_one_file
    (tmp_path / "other.txt").write_text("not part of it")
    assert size_bytes(path) == sum(os.stat(file).st_size for file in files)
    assert len(load_graph(path).graph.node) > 10
    lost = max((file for file in files if file != path), key=lambda file: file.name)
    lost.unlink()
    with pytest.raises(InputError, match=f"keeps its weights in {lost.name}, which is not beside it"):
        size_bytes(path)


@pytest.mark.parametrize("content", [b"no model at all", b"\x89PNG\r\n\x1a\n" * 10])
def test_what_is_no_onnx_file_is_named(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(InputError, match="a.onnx is not an ONNX file"):
        load_graph(tmp_path / "a.onnx")
