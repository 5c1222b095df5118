"""The table of files: sizes by the file system, cosines by numpy, accuracies by launch/verify.py, and how it reads."""

import json
import os

import numpy as np
import onnxruntime
import pytest

from recognition.errors import InputError
from recognition.export.comparison import Comparison, Row, compare_files, table, write_comparison
from recognition.export.onnx_file import export_onnx
from recognition.provenance import cpu_model
from recognition.runtime import Runtime
from recognition.targets.pairs import PairsTarget
from recognition.verification.pairs import Pairs
from tests.embedding.test_models import linear_onnx
from tests.export.conftest import META, pytorch
from tests.settled import faces, settled_backbone


@pytest.fixture(scope="module")
def target():
    """Pairs of drawn faces, of one person where both are the same picture with noise."""
    images_NHWC = np.repeat(faces(), 2, axis=0).reshape(16, 2, 112, 112, 3)
    images_NHWC[8:, 1] = images_NHWC[:8, 0]
    noise = np.random.default_rng(0).integers(0, 30, images_NHWC.shape, np.uint8)
    images_NHWC = np.minimum(images_NHWC, 225) + noise
    order = np.arange(16).reshape(2, 8).T.ravel()  # each fold has both kinds
    issame = np.repeat([True, False], 8)[order]
    repeated = np.resize(np.arange(16), 20)  # ten folds of two
    return PairsTarget("drawn", Pairs(images_NHWC[order][repeated].reshape(40, 112, 112, 3), issame[repeated]))


@pytest.fixture(scope="module")
def found(written, target):
    files = [written.path(precision) for precision in ("fp32", "fp16", "int8")]
    return compare_files(files, [target], runtime=Runtime(), threads=1, repeats=1)


def test_figures_are_those_of_the_file_system_and_of_numpy(written, target, found):
    images_NHWC = target.pairs.images
    wanted_ND = pytorch(written.module, images_NHWC).astype(np.float64)
    for row, precision in zip(found.rows, ("fp32", "fp16", "int8")):
        path = written.path(precision)
        assert (row.file, row.precision, row.size_bytes) == (str(path), precision, os.stat(path).st_size)
        session = onnxruntime.InferenceSession(path)
        x_NCHW = (images_NHWC.astype(np.float32).transpose(0, 3, 1, 2) - 127.5) / 127.5
        emb_ND = session.run(None, {"input": x_NCHW})[0].astype(np.float64)
        cosines = (emb_ND * wanted_ND).sum(1) / np.linalg.norm(emb_ND, axis=1) / np.linalg.norm(wanted_ND, axis=1)
        assert (row.cosine_mean, row.cosine_min) == pytest.approx((cosines.mean(), cosines.min()), abs=1e-6)
        assert all(row.latency_ms[batch] > 0 for batch in (1, 32))
    assert found.rows[0].cosine_min > 1 - 1e-12
    assert found.pictures == "pictures of drawn (40)"


def test_accuracy_is_that_of_verification(written, target, found):
    outcome = target.score(written.module, runtime=Runtime())
    assert 0.5 < outcome.result.accuracy <= 1
    assert found.rows[0].accuracy == {"drawn": outcome.result.accuracy}


def test_without_pairs_cosines_are_of_drawn_faces_or_of_what_is_given(written):
    files = [written.path("fp32"), written.path("int8")]
    one = compare_files(files, runtime=Runtime(), repeats=1)
    two = compare_files(files, runtime=Runtime(), repeats=1, images_NHWC=("these", faces()[:3]))
    assert (one.pictures, two.pictures) == ("drawn faces (32)", "these (3)")
    assert [row.accuracy for row in one.rows] == [{}, {}]
    assert one.rows[1].cosine_mean != two.rows[1].cosine_mean


def test_files_that_cannot_be_compared_are_named(written, tmp_path):
    export_onnx(settled_backbone("mbf_tiny", 16), tmp_path / "short.onnx", META)
    with pytest.raises(InputError, match=r"short\.onnx has embeddings of 16 numbers and .*a\.onnx of 32"):
        compare_files([written.path("fp32"), tmp_path / "short.onnx"], runtime=Runtime(), repeats=1)
    small = linear_onnx(tmp_path / "small.onnx")
    with pytest.raises(InputError, match=r"112x112 pixels, but .*small\.onnx takes 6x6"):
        compare_files([written.path("fp32"), small], runtime=Runtime(), repeats=1)


ROWS = [
    Row("runs/a|b.onnx", "fp32", 1_234_567, {1: 1.5, 32: 0.25}, {"lfw": 0.99755}, 1.0, 1.0),
    Row("runs/c.onnx", None, 98_765_432, {1: 10.125, 32: None}, {}, 0.9987654321, 0.5),
]


def test_the_table_is_markdown_that_lines_up():
    text = table(Comparison(ROWS, "pictures of lfw (256)", threads=1, repeats=10))
    lines = text.splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    cells = [[cell.strip() for cell in line.replace("\\|", "!").strip("|").split("|")] for line in lines[:4]]
    assert cells[0] == [
        *("file", "MB", "ms/picture, batch 1", "ms/picture, batch 32", "accuracy lfw", "cosine mean", "cosine min")
    ]
    assert cells[2] == ["a!b.onnx", "1.23", "1.50", "0.25", "0.9976", "1.000000", "1.000000"]
    assert cells[3] == ["c.onnx", "98.77", "10.12", "–", "–", "0.998765", "0.500000"]
    assert set(cells[1][0]) == {"-"}
    assert all(cell.endswith("-:") for cell in cells[1][1:])
    assert lines[4] == ""
    assert f"the fastest of 10 runs, files in turn; 1 thread of {cpu_model()}" in lines[5]
    assert f"ONNX Runtime {onnxruntime.__version__}" in lines[5]
    assert "to a|b.onnx, over pictures of lfw (256)." in lines[5]


def test_the_same_in_json_beside_it(tmp_path):
    beside = write_comparison(Comparison(ROWS, "these (2)", threads=2, repeats=3), tmp_path / "t.md")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.json", "t.md"]
    facts = json.loads(beside.read_text(), parse_constant=pytest.fail)
    assert facts["machine"] == {
        "cpu": cpu_model(),
        "threads": 2,
        "onnxruntime": onnxruntime.__version__,
        "repeats": 3,
    }
    assert facts["reference"] == "runs/a|b.onnx"
    assert facts["files"][1]["latency_ms"] == {"1": 10.125, "32": None}
    assert facts["files"][0]["size_bytes"] == 1_234_567
    with pytest.raises(InputError, match="must end in .md"):
        write_comparison(Comparison(ROWS, "these (2)", threads=2, repeats=3), tmp_path / "t.json")
