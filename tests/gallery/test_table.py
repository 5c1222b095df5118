"""Tables of embeddings: every photo is a row or a failure, parts survive a stop, what is read is what was written."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.gallery import embedding
from recognition.gallery.embedding import embed_photos
from recognition.gallery.photos import open_photos, photos_below
from recognition.gallery.table import open_table
from recognition.runtime import Runtime
from tests.pictures import pil_pixels, write_people
from tests.ranks import run_ranks

MODEL = Embedder(lambda x: torch.nn.functional.avg_pool2d(x, 4).flatten(1) + 0.02, (16, 16), {"sha256": "ab"})
FACTS = {"model": {"sha256": "ab", "file": "grid.onnx"}}


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, of which one is torn and one has another size; a name with a comma, and one at the top."""
    people = write_people(tmp_path / "people", {"ann": 4, "b,ob": 3, "cid": 4})
    (people / "top.jpg").write_bytes((people / "ann" / "0.jpg").read_bytes())
    (people / "cid" / "1.jpg").write_bytes((people / "cid" / "1.jpg").read_bytes()[:300])
    write_people(tmp_path / "large", {"x": 1}, size=24)
    (people / "cid" / "2.jpg").write_bytes((tmp_path / "large" / "x" / "0.jpg").read_bytes())
    return people


def made(folder, out, runtime=None, **options):
    options = {"facts": FACTS, "aligner": None, "batch_size": 2, "photos_a_part": 5} | options
    return embed_photos(MODEL, photos_below(folder), out, runtime=runtime or Runtime(), **options)


@pytest.mark.parametrize("name", ["t.parquet", "t.npy"])
def test_rows_are_the_embeddings_of_the_photos(folder, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    result = made(folder, tmp_path / name)
    assert (result.rows, result.failures, result.parts_found) == (10, 2, 0)
    table = open_table(tmp_path / name)
    expected = ["ann/0.jpg", "ann/1.jpg", "ann/2.jpg", "ann/3.jpg", "b,ob/0.jpg", "b,ob/1.jpg", "b,ob/2.jpg"]
    assert table.paths == [*expected, "cid/0.jpg", "cid/3.jpg", "top.jpg"]
    assert table.labels == ["ann"] * 4 + ["b,ob"] * 3 + ["cid"] * 2 + [""]
    for path, row in zip(table.paths, table.emb_ND):
        pixels = pil_pixels((folder / path).read_bytes()).astype(np.float32)
        x = (torch.from_numpy(pixels).permute(2, 0, 1)[None] - 127.5) / 127.5
        emb = (MODEL(x) + MODEL(x.flip(3)))[0].numpy()
        np.testing.assert_allclose(row, emb / np.linalg.norm(emb), atol=0.01)  # decoders differ by a grey level
    assert table.facts["model"] == FACTS["model"]
    with open(tmp_path / "t-failures.csv", newline="") as file:
        failures = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert set(failures) == {"cid/1.jpg", "cid/2.jpg"}
    assert "24x24" in failures["cid/2.jpg"]
    assert not (tmp_path / f"{name}.parts").exists()


def table_on_rank(runtime, folder, out):
    made(folder, out, runtime)
    return open_table(out).emb_ND.copy() if runtime.is_main else None


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_ranks_makes_the_same_table(folder, tmp_path, world):
    expected = table_on_rank(Runtime(), folder, tmp_path / "one.npy")
    np.testing.assert_array_equal(run_ranks(table_on_rank, world, folder, tmp_path / "more.npy")[0], expected)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "more.csv").read_bytes()
    assert (tmp_path / "one-failures.csv").read_bytes() == (tmp_path / "more-failures.csv").read_bytes()


def test_what_was_stopped_goes_on_and_ends_the_same(folder, tmp_path, monkeypatch):
    made(folder, tmp_path / "whole.npy")
    embed, calls = embedding.embed_images, []

    def until_the_third(*args, **options):
        calls.append(options["title"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(*args, **options)

    monkeypatch.setattr(embedding, "embed_images", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        made(folder, tmp_path / "t.npy")
    assert sorted(path.name for path in (tmp_path / "t.npy.parts").glob("*.safetensors")) == [
        "part-000000.safetensors",
        "part-000001.safetensors",
    ]
    assert not (tmp_path / "t.npy").exists()
    assert made(folder, tmp_path / "t.npy").parts_found == 2
    assert calls[3:] == ["part 2"]
    for ending in (".npy", ".csv", "-failures.csv"):
        assert (tmp_path / f"t{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()


def test_parts_of_something_else_are_not_gone_on_with(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "write_table", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made(folder, tmp_path / "t.npy")
    with pytest.raises(InputError, match="parts of a table of another model, folder or option; remove it"):
        made(folder, tmp_path / "t.npy", facts={"model": {"sha256": "cd"}})


def test_a_part_that_is_damaged_is_named_and_made_again(folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(embedding, "write_table", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made(folder, tmp_path / "t.npy")
    part = tmp_path / "t.npy.parts" / "part-000001.safetensors"
    content = part.read_bytes()
    for damaged in (content[:-8], content[:40], b"", content.replace(b"paths", b"pasts")):
        part.write_bytes(damaged)
        with pytest.raises(InputError, match=r"part-000001.safetensors is damaged \(.*remove it and repeat"):
            made(folder, tmp_path / "t.npy")
    part.unlink()
    assert made(folder, tmp_path / "t.npy").parts_found == 2


@pytest.mark.parametrize("name", ["t.parquet", "t.npy"])
@pytest.mark.parametrize("says", [0, np.nan, np.inf])
def test_a_network_that_says_nothing_of_a_photo_makes_a_failure_of_it(folder, tmp_path, name, says):
    """A table that was there before stays as it is."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    empty = dataclasses.replace(MODEL, embed=lambda x: torch.full((len(x), 48), says))
    photos, words = photos_below(folder), {"facts": FACTS, "aligner": None, "runtime": Runtime()}
    for before in (None, b"an older table"):
        if before:
            (tmp_path / name).write_bytes(before)
        with pytest.raises(InputError, match="not one photo could be used; .*t-failures.csv says why"):
            embed_photos(empty, photos, tmp_path / name, **words)
        with open(tmp_path / "t-failures.csv", newline="") as file:
            reasons = [row["reason"] for row in csv.DictReader(file)]
        assert reasons.count("the embedding is zero, NaN or infinite") == 10
        assert len(reasons) == 12
        assert ((tmp_path / name).read_bytes() if before else (tmp_path / name).exists()) == (before or False)


@pytest.mark.parametrize("name", ["t.parquet", "t.npy"])
def test_damaged_tables_are_refused(folder, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    made(folder, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"{name}.*make it again"):
        open_table(tmp_path / name)
    with pytest.raises(InputError, match="table .*absent.* does not exist; launch/embed.py MODEL FOLDER"):
        open_table(tmp_path / f"absent{name}")


def test_rows_that_do_not_fit_are_refused(folder, tmp_path):
    made(folder, tmp_path / "t.npy")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match=r"\(10, 48\) embeddings do not fit its 9 rows"):
        open_table(tmp_path / "t.npy")
    for wrong in (np.zeros((9, 4), "U1"), np.zeros((9, 4))):
        np.save(tmp_path / "t.npy", wrong)
        with pytest.raises(InputError, match="t.npy: its embeddings are no float32 numbers"):
            open_table(tmp_path / "t.npy")
    np.save(tmp_path / "t.npy", np.zeros((9, 4), np.float32))
    facts = (tmp_path / "t.json").read_text()
    (tmp_path / "t.json").write_text(f"[{facts}]")
    with pytest.raises(InputError, match="or its facts no JSON object"):
        open_table(tmp_path / "t.npy")
    (tmp_path / "t.csv").unlink()
    with pytest.raises(InputError, match=r"cannot be read with t.csv and t.json beside it \(No such file"):
        open_table(tmp_path / "t.npy")


def test_folders_without_pictures_and_paths_without_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        open_photos(tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist; give a folder of photos"):
        open_photos(tmp_path / "absent")


def test_names_that_are_no_utf8_survive(tmp_path):
    people = write_people(tmp_path / "people", {"ann": 2})
    (people / "ann" / "0.jpg").rename(people / "ann" / b"\xff.jpg".decode("utf-8", "surrogateescape"))
    made(people, tmp_path / "t.npy")
    assert open_table(tmp_path / "t.npy").paths[1] == "ann/\udcff.jpg"
    pytest.importorskip("pyarrow")
    made(people, tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").paths == ["ann/1.jpg", "ann/\\udcff.jpg"]
    json.dumps(open_table(tmp_path / "t.parquet").paths)
