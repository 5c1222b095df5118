"""The table of a generator's files: figures by the file system and by numpy, what is missing, and how it reads."""

import json

import numpy as np
import pytest
import torch

from generation.exporting.comparison import SCHEMA, Comparison, Row, compare_generators, table
from generation.exporting.generator_file import edit_labels, export_generator
from generation.stargan.measures import Measure, identity_measures
from recognition.export.table import write_table
from recognition.provenance import cpu_model, cpu_vector_flags
from tests.generation.exporting.small_generator import checkpoint_of, pictures, session_of

IMAGES = pictures(6, 32)


def embed(img01_NCHW):
    """Means of the quarters of a picture's colours: an embedding that anybody can compute again."""
    return torch.nn.functional.adaptive_avg_pool2d(img01_NCHW, 2).flatten(1)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    checkpoint, other = checkpoint_of(), checkpoint_of(seed=1)
    export_generator(checkpoint, folder / "same.onnx")
    export_generator(other, folder / "other.onnx")
    files = {"the same": folder / "same.onnx", "another": folder / "other.onnx"}
    comparison = compare_generators(
        checkpoint.generator(),
        files,
        IMAGES,
        identity_measures(embed, "means"),
        threads=1,
        repeats=1,
        facts={"epoch": 4, "attributes": checkpoint.attributes, "exclusive": False},
        pictures="waves",
    )
    return checkpoint, files, comparison


def test_figures_are_those_of_the_file_system_and_of_numpy(found):
    checkpoint, files, comparison = found
    own, same, another = comparison.rows
    weights_bytes = 4 * sum(tensor.numel() for tensor in checkpoint.generator().state_dict().values())
    assert (own.model, own.file, own.size_bytes, own.size_ratio) == ("PyTorch float32", None, weights_bytes, 1)
    assert (own.psnr_db_mean, own.psnr_db_min) == (None, None)
    x_NCHW = IMAGES.astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
    labels_NA = edit_labels(6, checkpoint.attributes)
    with torch.no_grad():
        wanted = checkpoint.generator()(torch.from_numpy(x_NCHW), torch.from_numpy(labels_NA)).numpy()
    for row, path in zip((same, another), files.values()):
        assert (row.file, row.size_bytes) == (path.name, path.stat().st_size)
        assert row.size_ratio == weights_bytes / path.stat().st_size
        assert row.latency_ms > 0
        made = session_of(path).run(None, {"image": x_NCHW, "labels": labels_NA})[0]
        levels = np.round((made.astype(np.float64) + 1) * 127.5) / 255
        a_ND, b_ND = (x.reshape(6, 3, 2, 16, 2, 16).mean((3, 5)).reshape(6, 12) for x in (IMAGES_01, levels))
        cosines = (a_ND * b_ND).sum(1) / np.linalg.norm(a_ND, axis=1) / np.linalg.norm(b_ND, axis=1)
        assert row.measures["identity_cos"] == pytest.approx(cosines.mean(), abs=1e-4)
        assert row.measures["face_fid"] > 0
    psnr_N = -10 * np.log10((((made - wanted).astype(np.float64) / 2) ** 2).mean((1, 2, 3)))
    assert (another.psnr_db_mean, another.psnr_db_min) == pytest.approx((psnr_N.mean(), psnr_N.min()), abs=1e-3)
    assert same.psnr_db_min > 90 > 30 > another.psnr_db_mean
    assert same.measures == pytest.approx(own.measures, abs=1e-4)


IMAGES_01 = IMAGES.transpose(0, 3, 1, 2) / 255.0

ROWS = [
    Row("PyTorch float32", None, 33_700_000, 1.0, 1585.0, None, None, {"face_fid": None}),
    Row("ONNX | int8", "g-int8.onnx", 8_600_000, 3.92, 504.25, 31.94, 30.81, {"face_fid": float("nan")}),
]
MISSING = [Measure("face_fid", "face-FID", why="needs a recogniser")]


def test_the_table_lines_up_and_says_what_is_missing():
    text = table(Comparison(ROWS, MISSING, {}, {"set": "celeba", "count": 32, "side": 256}, threads=2, repeats=12))
    lines = text.splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    cells = [[cell.strip() for cell in line.replace("\\|", "!").strip("|").split("|")] for line in lines[:4]]
    assert cells[0] == ["model", "MB", "smaller by", "ms/picture", "PSNR, dB", "PSNR at least", "face-FID"]
    assert cells[2] == ["PyTorch float32", "33.70", "1.00", "1585.0", "–", "–", "n/a"]
    assert cells[3][:6] == ["ONNX ! int8", "8.60", "3.92", "504.2", "31.9", "30.8"]
    assert f"the fastest of 12 runs, files in turn; 2 threads of {cpu_model()}" in lines[5]
    assert all(flag in lines[5] for flag in cpu_vector_flags())
    assert "the same 32 pictures of celeba, 256 x 256" in lines[5]
    assert lines[6] == "face-FID: n/a, needs a recogniser"


def test_the_same_in_strict_json(tmp_path):
    comparison = Comparison(ROWS, MISSING, {"epoch": 4}, {"set": "a", "count": 2, "side": 32}, threads=1, repeats=3)
    beside = write_table(tmp_path / "t.md", table(comparison), comparison.facts())
    facts = json.loads(beside.read_text(), parse_constant=pytest.fail)
    assert (facts["schema"], facts["generator"]) == (SCHEMA, {"epoch": 4})
    assert facts["machine"]["cpu_flags"] == cpu_vector_flags()
    assert facts["measures"] == {"face_fid": {"title": "face-FID", "by": None, "why": "needs a recogniser"}}
    assert [row["latency_ms"] for row in facts["rows"]] == [1585.0, 504.25]
    assert [row["measures"]["face_fid"] for row in facts["rows"]] == [None, None]
    assert facts["rows"][0]["psnr_db_mean"] is None


def test_flags_are_words_that_the_system_lists():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        words = set(file.read().split())
    assert set(cpu_vector_flags()) <= words
