"""`openset:` and `tinyface:` as a user names them: figures of small trees worked out picture by picture."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
import torch

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.identification.rates import rates_of
from recognition.identification.search import Searched
from recognition.runtime import Runtime
from recognition.targets.identification import IdentificationOutcome
from recognition.targets.opening import open_target
from recognition.targets.target import Options
from recognition.verification.intervals import difference_interval
from tests.identification.test_folders import tinyface
from tests.pictures import encoded
from tests.ranks import run_ranks


def embed(x_BCHW):
    """The mean colour: pictures of one hue are one person."""
    return x_BCHW.mean((2, 3))


MODEL = Embedder(embed, None, {"file": "hue.onnx"})
# Colours as (r, g, b); what a model sees is their direction from grey.
ANN, BOB, CID, ZOE = (250, 120, 120), (120, 250, 120), (120, 120, 250), (200, 200, 100)


def paint(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(np.full((16, 16, 3), colour, np.uint8), "PNG"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("openset")
    for name, colours in {"ann": [ANN, (240, 130, 110)], "bob": [BOB], "cid": [CID]}.items():
        for number, colour in enumerate(colours):
            paint(root / "gallery" / name / f"{number}.png", colour)
    for name, colours in {
        "ann": [(245, 125, 118), (125, 240, 118)],  # the second looks like bob
        "bob": [(118, 245, 121)],
        "zoe": [ZOE, (128, 128, 245)],  # the second looks like cid
    }.items():
        for number, colour in enumerate(colours):
            paint(root / "probes" / name / f"{number}.png", colour)
    return root


def direction(*colours):
    unit = [(np.array(colour) - 127.5) / np.linalg.norm(np.array(colour) - 127.5) for colour in colours]
    mean = np.mean(unit, axis=0)
    return mean / np.linalg.norm(mean)


def outcome_of(text, runtime=None, options=Options()):  # noqa: B008
    target = open_target(str(text), "set", options)
    return target, target.score(MODEL, runtime=runtime or Runtime(), batch_size=4)


def test_an_open_set_worked_out_by_hand(folder):
    target, outcome = outcome_of(f"openset:{folder}")
    facts = outcome.facts()
    assert (facts["gallery_subjects"], facts["gallery_images"], facts["distractors"]) == (3, 3, 1)  # cid has no probe
    assert (facts["mated_probes"], facts["nonmated_probes"]) == (3, 2)
    # Of ann's two probes and bob's one, ann's second is nearest to bob; then cid's or ann's entry, ann's being nearer.
    gallery = {"ann": direction(ANN, (240, 130, 110)), "bob": direction(BOB), "cid": direction(CID)}
    stray = direction((125, 240, 118))
    rank = 1 + sum(stray @ gallery[name] >= stray @ gallery["ann"] for name in ("bob", "cid"))
    assert facts["ranks"] == {"1": 2 / 3, "5": 1.0, "10": 1.0, "20": 1.0}
    assert list(facts["cmc"][:3]) == [sum(r <= k for r in (1, 1, rank)) / 3 for k in (1, 2, 3)]
    (miss,) = facts["misses"]
    assert (miss["probe"], miss["found"], miss["truth"], miss["rank"]) == (
        str(folder / "probes" / "ann" / "1.png"),
        "bob",
        "ann",
        rank,
    )
    assert miss["similarity"] == pytest.approx(stray @ gallery["bob"], abs=1e-6)
    # Two strangers: a threshold that one of two reaches is none, so no FPIR of at most 0.3 can be told.
    assert [point["dir"] for point in facts["open_set"]] == [None] * 5
    assert {point["flag"] for point in facts["open_set"]} == {"too_few_nonmated"}
    assert [alarm["found"] for alarm in facts["false_alarms"]][0] == "cid"
    alike = direction((128, 128, 245)) @ gallery["cid"]
    assert facts["false_alarms"][0]["similarity"] == pytest.approx(alike, abs=1e-6)
    assert facts["false_alarms"][0]["truth"] is facts["false_alarms"][0]["rank"] is None
    for key in ("picture", "found_picture", "truth_picture"):
        assert target.picture(miss[key]).shape == (16, 16, 3)
    assert target.picture(miss["picture"])[0, 0].tolist() == [125, 240, 118]
    assert "rank-1 0.6667" in outcome.line()
    assert any("only 3 probes" in warning for warning in outcome.warnings)
    json.dumps(facts["failures"])


def facts_on_rank(runtime, folder):
    facts = outcome_of(f"openset:{folder}", runtime)[1].facts()
    return {key: facts[key] for key in ("ranks", "cmc", "misses", "false_alarms", "open_set", "xnorm")}


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_ranks_gives_the_same(folder, world):
    assert run_ranks(facts_on_rank, world, folder) == [facts_on_rank(Runtime(), folder)] * world


def test_tinyface_searches_every_picture_of_the_gallery(tmp_path):
    root, _ = tinyface(tmp_path)
    place = root / "aligned_pad_0.1_pad_high"
    for name, colour in {
        "Gallery_Match/a1.jpg": ANN,
        "Gallery_Match/a2.jpg": CID,
        "Gallery_Match/b1.jpg": BOB,
        "Gallery_Distractor/sub/d.jpg": (245, 124, 120),
        "Probe/pa.jpg": (244, 124, 120),
        "Probe/pb.jpg": (122, 246, 121),
    }.items():
        paint(place / name, colour)
    facts = outcome_of(f"tinyface:{root}")[1].facts()
    assert (facts["gallery_images"], facts["distractors"], facts["mated_probes"]) == (4, 1, 2)
    assert facts["nonmated_probes"] == 0
    # pa: the distractor is nearer than a1, and a2 comes after b1 or before: only a1's rank counts for the CMC.
    assert facts["ranks"] == {"1": 0.5, "5": 1.0, "10": 1.0, "20": 1.0}
    assert facts["cmc"][1] == 1.0
    probe = direction((244, 124, 120))
    ahead_of_a2 = 1 + (probe @ direction(BOB) >= probe @ direction(CID))  # the distractor, and perhaps b1
    average = (1 / 2 + 2 / (2 + ahead_of_a2)) / 2
    assert facts["mean_average_precision"] == pytest.approx((average + 1) / 2)
    assert facts["open_set"] == []
    assert facts["curve"] is None


def test_models_are_compared_by_the_probes_that_one_alone_finds(folder):
    target, outcome = outcome_of(f"openset:{folder}")
    grey = Embedder(lambda x: x.mean((1, 2, 3))[:, None] + torch.tensor([0.0, 1.0]), None, {"file": "grey.onnx"})
    other = target.score(grey, runtime=Runtime(), batch_size=4)
    assert target.compare([outcome]) == []
    (entry,) = target.compare([outcome, other])
    assert (entry["metric"], entry["method"]) == ("rank-1", "McNemar exact")
    assert entry["difference"] == outcome.rates.ranks[1] - other.rates.ranks[1]
    assert entry["p_value"] == 1.0 or entry["p_value"] >= 0.25  # three probes prove nothing
    found, too = (each.searched.rank_Q[each.searched.mated_Q] == 1 for each in (outcome, other))
    alone = int((found & ~too).sum()), int((too & ~found).sum())
    assert (entry["low"], entry["high"]) == difference_interval(*alone, 3)
    assert entry["low"] < 0 < entry["high"]


def made_up(target, ranks, missing=0):
    """An outcome in which the probes have these ranks."""
    ranks, none = np.array(ranks), np.full(len(ranks), -1)
    searched = Searched(np.zeros(len(ranks)), none, np.zeros(len(ranks)), none, ranks, np.ones(len(ranks)))
    rates = rates_of(searched, missing=missing)
    return IdentificationOutcome(rates, searched, np.arange(len(ranks)), np.arange(1), target.gathering, {}, 1.0)


@pytest.mark.parametrize("missing", [0, 200])
def test_the_interval_of_a_difference_is_that_of_drawn_probes_and_takes_no_room(folder, missing):
    target = open_target(f"openset:{folder}", "set", Options())
    rng = np.random.default_rng(0)
    many = 100_000
    one = np.where(rng.random(many) < 0.9, 1, 2)
    other = np.where(rng.random(many) < 0.005, 3 - one, one)
    tracemalloc.start()
    outcomes = [made_up(target, ranks, missing) for ranks in (one, other)]
    (entry,) = target.compare(outcomes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    between = (one == 1).astype(int) - (other == 1)
    error = between.std() * np.sqrt(many) / (many + missing)
    assert entry["difference"] == pytest.approx(between.sum() / (many + missing), abs=1e-12)
    assert (entry["high"] - entry["low"]) / (2 * 1.96) == pytest.approx(error, rel=0.1)
    assert (entry["high"] + entry["low"]) / 2 == pytest.approx(entry["difference"], abs=0.2 * error)


def test_models_that_were_tried_with_different_probes_are_not_compared(folder):
    target = open_target(f"openset:{folder}", "set", Options())
    one = made_up(target, [1, 2, 1])
    assert target.compare([one, dataclasses.replace(one, probe_Q=np.arange(3) + 1)]) == []
    assert len(target.compare([one, one])) == 1


def test_photos_without_a_face_are_listed_and_count_as_not_found(folder, monkeypatch):
    target = open_target(f"openset:{folder}", "set", Options())
    target.pictures.note_failures = True
    read = type(target.pictures)._read

    def blind(self, index):
        if self.paths[index].endswith(("probes/bob/0.png", "gallery/cid/0.png", "probes/zoe/0.png")):
            raise InputError(f"{self.paths[index]}: no face")
        return read(self, index)

    monkeypatch.setattr(type(target.pictures), "_read", blind)
    outcome = target.score(MODEL, runtime=Runtime(), batch_size=4)
    facts = outcome.facts()
    assert (facts["mated_probes"], facts["nonmated_probes"], facts["gallery_subjects"]) == (3, 1, 2)
    assert facts["ranks"]["1"] == 1 / 3  # bob's probe is lost, ann's second is taken for bob
    assert facts["failures"]["count"] == 3
    assert facts["failures"]["first"][0].endswith("gallery/cid/0.png: no face")
    assert any("3 pictures could not be used" in warning for warning in outcome.warnings)


def test_probes_of_somebody_who_could_not_be_enrolled_are_not_found_and_no_strangers(folder, monkeypatch):
    target = open_target(f"openset:{folder}", "set", Options())
    target.pictures.note_failures = True
    read = type(target.pictures)._read

    def blind(self, index):
        if "gallery/ann" in self.paths[index] or self.paths[index].endswith("probes/ann/1.png"):
            raise InputError(f"{self.paths[index]}: no face")
        return read(self, index)

    monkeypatch.setattr(type(target.pictures), "_read", blind)
    outcome = target.score(MODEL, runtime=Runtime(), batch_size=4)
    facts = outcome.facts()
    assert (facts["mated_probes"], facts["nonmated_probes"], facts["gallery_subjects"]) == (3, 2, 2)
    assert facts["ranks"]["1"] == 1 / 3  # bob is found, ann's two probes cannot be
    assert [entry["probe"] for entry in facts["false_alarms"] if "ann" in entry["probe"]] == []
    assert any("of people in the gallery 2" in warning for warning in outcome.warnings)


def test_a_model_of_another_size_is_refused(folder):
    target = open_target(f"openset:{folder}", "set", Options())
    other = dataclasses.replace(MODEL, size=(112, 112), facts={"file": "x.onnx"})
    with pytest.raises(InputError, match="set has pictures of 16x16 pixels, but x.onnx takes 112x112"):
        target.score(other, runtime=Runtime())


def test_a_model_of_another_size_is_refused_before_anything_is_embedded(folder):
    target = open_target(f"openset:{folder}", "set", Options())
    with pytest.raises(InputError, match=r"set has pictures of 16x16 pixels, but big.onnx takes 48x48.*--detector"):
        target.require_fit(Embedder(embed, (48, 48), {"file": "big.onnx"}))
    target.require_fit(MODEL)
