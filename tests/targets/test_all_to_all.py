"""`all:SET`: every figure of everyone against everyone equals that of the pictures taken two by two."""

import itertools

import numpy as np
import pytest
import torch

from recognition.data.recordio import RecordWriter
from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.identification.all_to_all import STEPS
from recognition.runtime import Runtime
from recognition.targets.opening import open_target
from recognition.targets.target import Options
from tests.pictures import jpeg, pil_pixels, write_people
from tests.ranks import run_ranks

COUNTS = {"ann": 5, "bob": 1, "cid": 7, "dee": 3, "eve": 6}


def embed(x_BCHW):
    """Means of a grid of patches, of which the mirrored picture has others."""
    return torch.nn.functional.avg_pool2d(x_BCHW, 4).flatten(1) + 0.02


MODEL = Embedder(embed, None, {"file": "grid.onnx"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), COUNTS)


def outcome_of(folder, runtime):
    target = open_target(f"all:{folder}", "people", Options())
    return target, target.score(MODEL, runtime=runtime, batch_size=4)


def pairs_by_hand(folder):
    """(cosine in steps, one person?, paths) of every two files."""
    unit, paths = [], []
    for path in sorted(folder.rglob("*.jpg")):
        x = (torch.from_numpy(pil_pixels(path.read_bytes()).astype(np.float32)).permute(2, 0, 1)[None] - 127.5) / 127.5
        emb = (embed(x) + embed(torch.from_numpy(x.numpy()[..., ::-1].copy())))[0].double().numpy()
        unit.append(emb / np.linalg.norm(emb))
        paths.append(path)
    pairs = [
        (unit[a] @ unit[b], paths[a].parent == paths[b].parent, (str(paths[a]), str(paths[b])))
        for a, b in itertools.combinations(range(len(paths)), 2)
    ]
    return sorted(pairs, key=lambda pair: pair[0])


def test_the_figures_are_those_of_all_pairs(folder):
    _, outcome = outcome_of(folder, Runtime())
    facts, pairs = outcome.facts(), pairs_by_hand(folder)
    genuine = np.array([cosine for cosine, same, _ in pairs if same])
    impostor = np.array([cosine for cosine, same, _ in pairs if not same])
    assert (facts["images"], facts["identities"]) == (22, 5)
    assert (facts["genuine"], facts["impostor"]) == (len(genuine), len(impostor)) == (10 + 21 + 3 + 15, 182)
    auc = np.mean((np.sign(genuine[:, None] - impostor) + 1) / 2)
    assert facts["auc"] == pytest.approx(auc, abs=2 / facts["impostor"] / facts["genuine"])  # two nearly equal cosines
    points = {point["far"]: point for point in facts["operating_points"]}
    for far, allowed in ((0.1, 18), (0.01, 1)):
        point = points[far]
        limit = np.sort(impostor)[::-1][allowed]
        assert point["allowed_false_accepts"] == allowed
        assert point["threshold"] == pytest.approx(2 - 2 * limit, abs=1.5 / STEPS)
        assert point["tar"] == pytest.approx(np.mean(genuine > limit), abs=1e-12)
        assert point["low"] <= point["tar"] <= point["high"]
    assert (points[0.1]["flag"], points[0.01]["flag"]) == (None, "few_impostors")
    for far in (1e-3, 1e-6, 1e-8):
        assert points[far] == {
            **dict.fromkeys(("tar", "low", "high", "threshold")),
            "far": far,
            "allowed_false_accepts": 0,
            "flag": "too_few_impostors",
        }
    assert "TAR@0.1 " in outcome.line()
    assert "TAR@0.001" not in outcome.line()


def test_the_worst_are_named_and_can_be_shown(folder):
    target, outcome = outcome_of(folder, Runtime())
    pairs = pairs_by_hand(folder)
    for same, expected in ((False, pairs[::-1]), (True, pairs)):
        expected = [(cosine, names) for cosine, kind, names in expected if kind == same][:6]
        found = [entry for entry in outcome.facts()["worst"] if entry["same"] == same]
        assert [(entry["first_name"], entry["second_name"]) for entry in found] == [names for _, names in expected]
        for entry, (cosine, names) in zip(found, expected):
            assert entry["similarity"] == pytest.approx(cosine, abs=1e-6)
            for place, name in zip((entry["first"], entry["second"]), names):
                with open(name, "rb") as file:
                    assert np.abs(target.picture(place).astype(int) - pil_pixels(file.read())).max() <= 4


def test_the_histogram_holds_every_pair_in_its_bin(folder):
    _, outcome = outcome_of(folder, Runtime())
    histogram, pairs = outcome.facts()["histogram"], pairs_by_hand(folder)
    for kind in (True, False):
        cosines = [np.rint(cosine * STEPS) / STEPS for cosine, same, _ in pairs if same == kind]
        expected, _ = np.histogram(cosines, histogram["cosine_edges"])
        np.testing.assert_array_equal(histogram["genuine" if kind else "impostor"], expected)
        assert expected.sum() == len(cosines)


def facts_on_rank(runtime, folder):
    facts = outcome_of(folder, runtime)[1].facts()
    return {key: facts[key] for key in ("operating_points", "auc", "eer", "worst", "xnorm")}


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_ranks_gives_the_same(folder, world):
    expected = facts_on_rank(Runtime(), folder)
    assert run_ranks(facts_on_rank, world, folder) == [expected] * world


def test_a_record_set_without_a_header_is_read_for_its_labels(tmp_path):
    with RecordWriter(tmp_path / "train.rec", tmp_path / "train.idx") as writer:
        for key in range(8):
            writer.write(key, jpeg(key), float(key // 3))
    (tmp_path / "property").write_text("3,16,16")
    facts = outcome_of(tmp_path, Runtime())[1].facts()
    assert (facts["images"], facts["identities"], facts["genuine"]) == (8, 3, 3 + 3 + 1)


def test_models_of_another_size_and_sets_of_one_person_are_refused(folder, tmp_path):
    target = open_target(f"all:{folder}", "people", Options())
    with pytest.raises(InputError, match="people has pictures of 16x16 pixels, but x.onnx takes 112x112"):
        target.score(Embedder(embed, (112, 112), {"file": "x.onnx"}), runtime=Runtime(), batch_size=4)
    write_people(tmp_path, {"one": 3})
    with pytest.raises(InputError, match="3 pictures of 1 people"):
        open_target(f"all:{tmp_path}", "one", Options())


def test_models_are_compared_at_every_far_that_the_set_can_tell(folder):
    target, outcome = outcome_of(folder, Runtime())
    coarse = Embedder(lambda x: torch.nn.functional.avg_pool2d(x, 8).flatten(1) + 0.02, None, {"file": "coarse.onnx"})
    other = target.score(coarse, runtime=Runtime(), batch_size=4)
    assert target.compare([outcome]) == []
    entries = target.compare([outcome, other, outcome])
    assert [(e["first"], e["second"], e["metric"]) for e in entries] == [
        (first, second, metric) for first, second in ((0, 1), (0, 2), (1, 2)) for metric in ("tar@0.1", "tar@0.01")
    ]
    for entry, far in zip(entries[:2], (0, 1)):
        expected = outcome.points()[far]["tar"] - other.points()[far]["tar"]
        assert entry["difference"] == pytest.approx(expected, abs=1e-12)
    assert [entry["difference"] for entry in entries[2:4]] == [0, 0]


def test_one_picture_under_two_labels_is_pointed_out(tmp_path):
    write_people(tmp_path, {"ann": 3, "bob": 3})
    assert outcome_of(tmp_path, Runtime())[1].warnings == ()
    (tmp_path / "bob" / "copy.jpg").write_bytes((tmp_path / "ann" / "1.jpg").read_bytes())
    (warning,) = outcome_of(tmp_path, Runtime())[1].warnings
    assert warning.startswith("1 impostor pairs have a cosine of 0.999 or more")
    assert f"{tmp_path}/ann/1.jpg and {tmp_path}/bob/copy.jpg" in warning
