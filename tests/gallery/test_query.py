"""Searches against brute force; indexes that were changed, tables of another model and thresholds of reports."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.gallery.index import HNSW, build_index, nearest, open_index, write_index
from recognition.gallery.query import answers_of, query_photos, require_same_model, threshold_of_report
from recognition.gallery.table import Table
from recognition.runtime import Runtime
from tests.pictures import write_people

pytest.importorskip("faiss")


def table(rows=400, dim=16, seed=0):
    rng = np.random.default_rng(seed)
    emb = rng.normal(size=(rows, dim)).astype(np.float32)
    emb /= np.linalg.norm(emb, axis=1, keepdims=True)
    return Table(
        emb, [f"p{k}.jpg" for k in range(rows)], [f"n{k % 7}" for k in range(rows)], {"model": {"sha256": "ab"}}
    )


def test_an_exact_index_finds_what_every_cosine_says():
    data, queries = table(), table(30, seed=1).emb_ND
    index, facts = build_index(data)
    assert (facts.kind, facts.rows, facts.dim, facts.recall_at_10) == ("flat", 400, 16, 1.0)
    cosines, rows = nearest(index, queries, 10)
    expected = queries.astype(np.float64) @ data.emb_ND.T.astype(np.float64)
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :10])
    np.testing.assert_allclose(cosines, np.sort(-expected, axis=1)[:, :10] * -1, atol=1e-6)
    assert nearest(index, queries, 1000)[1].shape == (30, 400)  # no more than there are


def test_the_recall_of_a_graph_is_measured_against_every_row():
    data = table(3000, 8)
    index, facts = build_index(data, HNSW)
    assert 0.9 < facts.recall_at_10 <= 1
    index.hnsw.efSearch = 1  # a search that gives up at once
    from recognition.gallery.index import _recall

    rng = np.random.default_rng(0)
    queries = data.emb_ND[rng.choice(3000, 200, replace=False)]
    queries = queries + rng.normal(0, 0.5 / np.sqrt(8), queries.shape).astype(np.float32)
    _, found = nearest(index, queries, 10)
    exact = np.argsort(-(queries @ data.emb_ND.T), axis=1)[:, :10]
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), exact.tolist())]
    assert _recall(index, data.emb_ND) == pytest.approx(np.mean(shares), abs=1e-12)
    assert np.mean(shares) < facts.recall_at_10


def test_an_index_is_opened_for_its_own_table_alone(tmp_path):
    data = table()
    index, facts = build_index(data)
    write_index(tmp_path / "a.faiss", index, facts)
    again, read = open_index(tmp_path / "a.faiss", data)
    np.testing.assert_array_equal(nearest(again, data.emb_ND[:5], 3)[1], nearest(index, data.emb_ND[:5], 3)[1])
    assert read.rows_sha256 == facts.rows_sha256
    with pytest.raises(InputError, match="was built from another table"):
        open_index(tmp_path / "a.faiss", table(seed=2))
    content = bytearray((tmp_path / "a.faiss").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.faiss").write_bytes(content)
    with pytest.raises(InputError, match="is not the file that a.json describes"):
        open_index(tmp_path / "a.faiss", data)
    (tmp_path / "a.json").unlink()
    with pytest.raises(InputError, match="a.json cannot be read, so .*a.faiss is not trusted"):
        open_index(tmp_path / "a.faiss", data)
    with pytest.raises(InputError, match="index .*b.faiss does not exist"):
        open_index(tmp_path / "b.faiss", data)


def test_below_the_threshold_it_is_nobody():
    data = table()
    index, _ = build_index(data)
    one, two = answers_of(data.emb_ND[[3, 8]], ["x", "y"], index, data, most=5, threshold=0.999)
    assert [(match.row, match.path, match.label) for match in one.matches] == [(3, "p3.jpg", "n3")]
    assert [match.row for match in two.matches] == [8]
    assert answers_of(data.emb_ND[[3]], ["x"], index, data, most=5, threshold=1.1)[0].matches == ()


def test_photos_are_looked_up_and_those_that_fail_are_told(tmp_path):
    people = write_people(tmp_path, {"ann": 3})
    paths = [str(people / "ann" / f"{k}.jpg") for k in range(3)]
    model = Embedder(lambda x: torch.nn.functional.avg_pool2d(x, 4).flatten(1) + 0.02, (16, 16), {"sha256": "ab"})
    from recognition.gallery.embedding import embed_photos
    from recognition.gallery.photos import FolderPhotos
    from recognition.gallery.table import open_table

    out = tmp_path / "t.npy"
    embed_photos(model, FolderPhotos(people), out, facts={"model": model.facts}, aligner=None, runtime=Runtime())
    data = open_table(out)
    index, _ = build_index(data)
    looking = {"aligner": None, "runtime": Runtime(), "most": 1}
    answers = query_photos(model, [*paths, str(tmp_path / "absent.jpg")], index, data, **looking)
    assert [answer.matches[0].path for answer in answers[:3]] == ["ann/0.jpg", "ann/1.jpg", "ann/2.jpg"]
    assert all(answer.matches[0].cosine == pytest.approx(1, abs=1e-5) for answer in answers[:3])
    assert "absent.jpg: cannot be read" in answers[3].failure
    require_same_model(model, data, out)
    other = dataclasses.replace(model, facts={"sha256": "cd", "file": "other.onnx"})
    with pytest.raises(InputError, match="other.onnx is another one .*; embeddings of two models cannot be compared"):
        require_same_model(other, data, out)


def test_the_threshold_of_a_report_is_its_distance_as_a_cosine(tmp_path):
    points = [{"far": 0.01, "threshold": 1.2}, {"far": 0.001, "threshold": None}]
    others = [{"far": 0.01, "threshold": 0.2}]
    targets = [
        {"kind": "identification", "models": [0, 1], "outcomes": [{"ranks": {}}, {"ranks": {}}]},
        {"kind": "templates", "models": [0], "outcomes": [{"operating_points": others}]},  # of several pictures each
        {
            "kind": "pairs",
            "models": [1],
            "outcomes": [{"operating_points": others}],
        },  # the first model has no figures here
        {"kind": "pairs", "models": [0, 1], "outcomes": [{"operating_points": points}, {"operating_points": others}]},
    ]
    report = {"models": [{"sha256": "ab"}, {"file_sha256": "cd"}], "targets": targets}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert threshold_of_report(tmp_path / "report.json", 0.01, table()) == pytest.approx(0.4)
    with pytest.raises(InputError, match="no target can tell FAR 0.001"):
        threshold_of_report(tmp_path / "report.json", 0.001, table())
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(InputError, match="is no report.json"):
        threshold_of_report(tmp_path / "report.json", 0.01, table())


def test_the_threshold_is_that_of_the_model_that_made_the_table(tmp_path):
    outcomes = [{"operating_points": [{"far": 0.01, "threshold": value}]} for value in (1.2, 0.2)]
    report = {
        "models": [{"sha256": "cd"}, {"sha256": "ab"}],
        "targets": [{"kind": "all_to_all", "models": [0, 1], "outcomes": outcomes}],
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert threshold_of_report(tmp_path / "report.json", 0.01, table()) == pytest.approx(0.9)
    report["models"][1]["sha256"] = "ef"
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(InputError, match="has no figures of the model that made the table"):
        threshold_of_report(tmp_path / "report.json", 0.01, table())
