"""Pairs as targets: a set and a list of the same pairs give the same figures, on any number of ranks."""

import dataclasses

import numpy as np
import pytest
import torch

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.targets.opening import open_target
from recognition.targets.target import Options
from recognition.verification.bootstrap import resample_pairs
from recognition.verification.comparison import compare_pairs
from recognition.verification.groups import group_results
from recognition.verification.pairs import load_pairs, open_pair_file, write_pairs
from recognition.verification.protocol import verify_pairs
from tests.pictures import pil_pixels, write_people
from tests.ranks import run_ranks

OPTIONS = Options(replicates=30)


def embed(x_BCHW):
    return torch.nn.functional.avg_pool2d(x_BCHW, 4).flatten(1) + 0.02


MODEL = Embedder(embed, None, {"file": "grid.onnx"})


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Twenty pairs over a few pictures, many of them in several pairs: as a .bin, and as a list with folds."""
    root = tmp_path_factory.mktemp("sets")
    people = write_people(root / "people", {"ann": 4, "bob": 4, "cid": 4})
    rng = np.random.default_rng(0)
    rows = []
    for pair in range(40):
        first, second = rng.choice(["ann", "bob", "cid"], 2, replace=False)
        second = first if pair % 2 == 0 else second
        a, b = rng.choice(4, 2, replace=False)
        rows.append((f"{first}/{a}.jpg", f"{second}/{b}.jpg", int(pair % 2 == 0)))
    images = [(people / name).read_bytes() for row in rows for name in row[:2]]
    write_pairs(root / "set.bin", images, [row[2] == 1 for row in rows])
    (root / "list.csv").write_text("".join(f"{a},{b},{same}\n" for a, b, same in rows))
    (root / "groups.csv").write_text(
        "pair,group\n" + "".join(f"{k},{'east' if k < 15 else 'west'}\n" for k in range(40))
    )
    return root


def outcome_of(text, options=OPTIONS, runtime=None, model=MODEL):
    target = open_target(str(text), "set", options)
    return target, target.score(model, runtime=runtime or Runtime(), batch_size=8)


def test_a_list_gives_the_figures_of_the_set(sets):
    _, expected = outcome_of(sets / "set.bin")
    listed = dataclasses.replace(OPTIONS, images=sets / "people")
    for text in (sets / "list.csv", f"pairs:{sets / 'list.csv'}"):
        target, found = outcome_of(text, listed)
        # Pictures share batches with others, so the last bit of a distance may differ.
        np.testing.assert_allclose(found.result.distances_P, expected.result.distances_P, rtol=1e-5)
        assert found.result.accuracy == expected.result.accuracy
        assert len(target.pairs.images) == 12  # each picture once, of 80


def test_facts_have_intervals_groups_and_names(sets):
    options = dataclasses.replace(OPTIONS, images=sets / "people", groups=sets / "groups.csv", seed=4)
    target, outcome = outcome_of(sets / "list.csv", options)
    facts = outcome.facts()
    (drawn,) = resample_pairs([outcome.result], replicates=30, seed=4)
    assert facts["intervals"] == {metric: drawn.interval(metric) for metric in ("accuracy", "auc", "eer")}
    assert facts["resampling"] == {"unit": "pairs", "replicates": 30, "seed": 4}
    assert [point["far"] for point in facts["operating_points"]] == [0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6]
    first, second, *_ = facts["operating_points"]
    assert (first["low"], first["high"]) == drawn.interval("tar@0.1")
    assert (first["allowed_false_accepts"], first["flag"]) == (2, "few_impostors")
    assert (second["tar"], second["low"], second["flag"]) == (None, None, "too_few_impostors")
    expected = group_results(outcome.result, ["east"] * 15 + ["west"] * 25)
    assert [(group["group"], group["pairs"], group["accuracy"]) for group in facts["groups"]] == [
        (group.name, group.pairs, group.accuracy) for group in expected
    ]
    assert facts["groups"][0]["rates"]["0.1"]["fmr"] == expected[0].rates[0.1].fmr
    assert set(facts["disparity"]["0.1"]) == {"max_min_fmr", "max_mean_fmr", "max_min_fnmr"}
    for kind in ("false_accepts", "false_rejects"):
        assert facts[kind]
        for entry in facts[kind]:
            for side, name in enumerate((entry["first"], entry["second"])):
                with open(name, "rb") as file:
                    expected_pixels = pil_pixels(file.read()).astype(int)
                assert np.abs(target.picture(2 * entry["pair"] + side) - expected_pixels).max() <= 4


def test_groups_follow_pairs_into_the_order_of_their_folds(sets, tmp_path):
    lines = (sets / "list.csv").read_text().splitlines()
    # Five neighbours of which the first goes to the last fold: the order in the target is another than in the file.
    (tmp_path / "folds.csv").write_text("".join(f"{line},{9 - place % 10}\n" for place, line in enumerate(lines)))
    (tmp_path / "groups.csv").write_text("group\n" + "".join(f"{line.split(',')[0]}\n" for line in lines))
    options = dataclasses.replace(OPTIONS, images=sets / "people", groups=tmp_path / "groups.csv")
    target = open_target(str(tmp_path / "folds.csv"), "folds", options)
    assert [name.removeprefix(f"{sets / 'people'}/") for name in target.names[0::2]] == target.groups_P
    assert target.names[0] != f"{sets / 'people'}/{lines[0].split(',')[0]}"


def test_replicates_of_0_leave_intervals_out(sets):
    target, outcome = outcome_of(sets / "set.bin", Options(replicates=0))
    facts = outcome.facts()
    assert not {"intervals", "resampling"} & set(facts)
    assert facts["operating_points"][0]["low"] is None
    assert target.compare([outcome, outcome]) == []


def test_models_are_compared_on_the_same_drawn_sets(sets):
    target, outcome = outcome_of(sets / "set.bin")
    coarse = Embedder(lambda x: torch.nn.functional.avg_pool2d(x, 8).flatten(1) + 0.02, None, {"file": "c.onnx"})
    other = target.score(coarse, runtime=Runtime(), batch_size=8)
    entries = target.compare([outcome, other])
    assert [entry["metric"] for entry in entries] == ["accuracy", "auc", "eer", "tar@0.1"]
    results = [outcome.result, other.result]
    assert entries == [dataclasses.asdict(e) for e in compare_pairs(results, resample_pairs(results, replicates=30))]
    assert target.compare([outcome]) == []


def figures_on_rank(runtime, path, images):
    _, outcome = outcome_of(path, dataclasses.replace(OPTIONS, images=images), runtime)
    return outcome.result.distances_P, outcome.xnorm


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", ["set.bin", "list.csv"])
def test_any_number_of_ranks_gives_the_same(sets, world, name):
    distances, xnorm = figures_on_rank(Runtime(), sets / name, sets / "people")
    for found, found_xnorm in run_ranks(figures_on_rank, world, sets / name, sets / "people"):
        np.testing.assert_array_equal(found, distances)
        assert found_xnorm == xnorm


def decoded_on_rank(runtime, path):
    target = open_target(str(path), "set", OPTIONS)
    taken, decode = [], type(target.pairs.images).decode
    type(target.pairs.images).decode = lambda self, index, out: taken.append(index) or decode(self, index, out)
    try:
        target.score(MODEL, runtime=runtime, batch_size=8)
    finally:
        type(target.pairs.images).decode = decode
    return sorted(taken)


def test_each_rank_decodes_its_share_once(sets):
    assert run_ranks(decoded_on_rank, 2, sets / "set.bin") == [list(range(40)), list(range(40, 80))]


def test_pictures_of_a_set_stay_encoded_and_are_those_that_load_pairs_decodes(sets):
    stored, loaded = open_pair_file(sets / "set.bin"), load_pairs(sets / "set.bin")
    assert stored.size == loaded.size == (16, 16)
    for index in (0, 7, 79):
        np.testing.assert_array_equal(stored.images[index], loaded.images[index])
    np.testing.assert_array_equal(stored.issame, loaded.issame)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group\n" + "a\n" * 39, "39 rows for 40 pairs"),
        ("group\n" + "a\n" * 39 + '""\n', "the group of pair 39 is empty"),
        ("who\n" + "a\n" * 40, "has the columns who, but none named 'group'"),
        ("", r"has the columns \(none\)"),
    ],
)
def test_a_table_of_groups_that_does_not_fit_is_refused(sets, tmp_path, text, message):
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        open_target(str(sets / "set.bin"), "set", Options(groups=tmp_path / "groups.csv"))
    with pytest.raises(InputError, match=r"absent.csv: cannot be read \(No such file"):
        open_target(str(sets / "set.bin"), "set", Options(groups=tmp_path / "absent.csv"))


def test_a_picture_that_is_damaged_amid_the_set_is_named(sets, tmp_path):
    people = sets / "people"
    images = [(people / "ann" / f"{k % 4}.jpg").read_bytes() for k in range(40)]
    images[21] = images[21][:200] + images[21][260:]
    write_pairs(tmp_path / "torn.bin", images, [k % 2 == 0 for k in range(20)])
    with pytest.raises(InputError, match=r"torn.bin: image 21 \(pair 10, second picture\)"):
        outcome_of(tmp_path / "torn.bin")
    (tmp_path / "torn.jpg").write_bytes(images[21])
    (tmp_path / "list.csv").write_text(f"torn.jpg,torn.jpg,1\n{people}/ann/0.jpg,{people}/bob/0.jpg,0\n" * 10)
    with pytest.raises(InputError, match="torn.jpg: not a readable JPEG"):
        outcome_of(tmp_path / "list.csv")


def test_the_result_is_that_of_verify_pairs_on_all_rows(sets):
    _, outcome = outcome_of(sets / "set.bin")
    x = torch.from_numpy(load_pairs(sets / "set.bin").images.astype(np.float32)).permute(0, 3, 1, 2)
    x = (x - 127.5) / 127.5
    expected = verify_pairs((embed(x) + embed(x.flip(3))).numpy(), outcome.result.issame_P)
    np.testing.assert_allclose(outcome.result.distances_P, expected.distances_P, rtol=1e-5)
    assert outcome.result.fold_thresholds == expected.fold_thresholds
