"""The pages of several models and every kind of target: each figure is that of the JSON, in its row and column."""

import base64
import re

import jsonschema
import numpy as np
import pytest

from recognition.embedding.finding import Finding
from recognition.report.kinds.shared_tables import comparison_tables
from recognition.report.writing import write_report
from recognition.targets.target import Failed, Scored
from tests.pictures import pil_pixels
from tests.report.made_up import MODELS, Made, MadeTarget, made_up
from tests.report.reading import Page, markdown_tables, strict_json
from tests.report.test_schema import DOCUMENT

NAMES = ["r50", "r100", "vit_b"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    scored = made_up(3)
    write_report(out, scored, models=MODELS[:3])
    page = Page((out / "index.html").read_text())
    return scored, out, strict_json(out / "report.json"), page, (out / "report.md").read_text()


def written_alone(out, target, *outcomes):
    write_report(out, [Scored(target, outcomes)], models=MODELS[: len(outcomes)])
    return strict_json(out / "report.json"), Page((out / "index.html").read_text()), (out / "report.md").read_text()


def percent(value):
    return "–" if value is None else f"{100 * value:.2f} %"


def with_interval(value, interval, show=percent):
    low, high = (show(end) for end in interval)
    return f"{show(value)} {low.removesuffix(' %')} to {high}"


def row_of(page, section, label):
    """The cells of the row that begins so, in the first table of a section."""
    rows = [row for row in page.of_section[section][0] if row[0].startswith(label)]
    assert len(rows) == 1, (section, label, rows)
    return rows[0][1:]


def test_the_models_stand_side_by_side_under_their_names(written):
    _, _, facts, page, markdown = written
    assert [model["name"] for model in facts["models"]] == NAMES
    assert page.tables[0][0] == ["Set", *NAMES]
    for section in ("lfw", "ijbc", "doors", "everyone", "moon"):
        assert page.of_section[section][0][0] == ["Figure", *NAMES]
    assert "How well 3 models tell people apart" in page.text
    assert markdown.startswith("# How well 3 models tell people apart\n")


def test_the_headline_is_the_main_figure_of_each_target_with_its_interval(written):
    _, _, facts, page, _ = written
    lfw, own, ijbc, doors, tinyface, everyone, _ = facts["targets"]
    rows = {row[0]: row[1:] for row in page.tables[0]}
    assert rows["lfw Accuracy"] == [with_interval(o["accuracy"], o["intervals"]["accuracy"]) for o in lfw["outcomes"]]
    assert rows["own <b>set</b> TAR at FAR 0.1 % needs 1,000 impostor pairs, has 300"] == ["–"] * 3
    at = [{p["far"]: p for p in o["operating_points"]} for o in ijbc["outcomes"]]
    cells = [with_interval(points[1e-4]["tar"], (points[1e-4]["low"], points[1e-4]["high"])) for points in at]
    assert rows["ijbc TAR at FAR 0.01 %"] == cells
    for target in (doors, tinyface):
        cells = [with_interval(o["ranks"]["1"], o["rank_intervals"]["1"]) for o in target["outcomes"]]
        assert rows[f"{target['name']} Found at rank 1"] == cells
    assert "tinyface DIR at FPIR 1 %" not in rows
    at = [{p["far"]: p for p in o["operating_points"]} for o in everyone["outcomes"]]
    cells = [with_interval(points[1e-6]["tar"], (points[1e-6]["low"], points[1e-6]["high"])) for points in at]
    assert rows["everyone TAR at FAR 1e-6 (1 in 1,000,000)"] == cells


@pytest.mark.parametrize(
    ("target", "section", "key", "rate", "share", "label"),
    [
        (0, "lfw", "operating_points", "far", "tar", "TAR at FAR"),
        (2, "ijbc", "operating_points", "far", "tar", "TAR at FAR"),
        (3, "doors", "open_set", "fpir", "dir", "DIR at FPIR"),
        (5, "everyone", "operating_points", "far", "tar", "TAR at FAR"),
    ],
)
def test_every_operating_point_is_that_of_the_json(written, target, section, key, rate, share, label):
    _, _, facts, page, _ = written
    outcomes = facts["targets"][target]["outcomes"]
    untold = False
    for place, point in enumerate(outcomes[0][key]):
        written_rate = f"{point[rate] * 100:g} %" if point[rate] > 9e-5 else f"1e-{round(1 / point[rate]):,}".count("0")
        if isinstance(written_rate, int):
            written_rate = f"1e-{written_rate} (1 in {round(1 / point[rate]):,})"
        points = [outcome[key][place] for outcome in outcomes]
        if all(p[share] is None for p in points):
            if not untold:
                cells = row_of(page, section, f"{label} {written_rate}")
                assert cells == ["–"] * 3
            untold = True
            continue
        assert not untold
        cells = row_of(page, section, f"{label} {written_rate}")
        assert cells == [with_interval(p[share], (p["low"], p["high"])) for p in points]
    assert untold


def test_the_other_figures_are_those_of_the_json(written):
    _, _, facts, page, _ = written
    lfw, _, ijbc, doors, *_ = (target["outcomes"] for target in facts["targets"])

    def four(value):
        return f"{value:.4f}"

    assert row_of(page, "lfw", "EER") == [with_interval(o["eer"], o["intervals"]["eer"]) for o in lfw]
    assert row_of(page, "lfw", "AUC") == [with_interval(o["auc"], o["intervals"]["auc"], four) for o in lfw]
    assert row_of(page, "lfw", "Standard deviation") == [percent(o["accuracy_std"]) for o in lfw]
    assert row_of(page, "lfw", "XNorm") == [f"{o['xnorm']:.2f}" for o in lfw]
    assert row_of(page, "ijbc", "EER") == [percent(o["eer"]) for o in ijbc]
    for rank in ("5", "10", "20"):
        cells = [with_interval(o["ranks"][rank], o["rank_intervals"][rank]) for o in doors]
        assert row_of(page, "doors", f"Found within rank {rank}") == cells
    assert row_of(page, "doors", "XNorm") == [f"{o['xnorm']:.2f}" for o in doors]
    assert row_of(page, "doors", "Mean average precision") == [percent(o["mean_average_precision"]) for o in doors]
    published = row_of(page, "ijbc", "As published, nearest to FAR 0.1 %")
    assert published == [percent(o["tar_at_nearest_far"]["0.001"]) for o in ijbc]
    searched = [o["identification"] for o in ijbc]
    cells = [with_interval(o["ranks"]["1"], o["rank_intervals"]["1"]) for o in searched]
    assert row_of(page, "ijbc: Searching a gallery (1:N)", "Found at rank 1") == cells


def test_markdown_has_every_figure_of_the_page(written):
    _, _, _, page, markdown = written
    of_figures = [table for table in page.tables if table and table[0][1:] == NAMES and len(table) > 1]
    assert len(of_figures) == 9  # the headline, seven targets, and the 1:N part of one
    flat = {
        re.sub(r"\W+", "", "".join(row)) for table in markdown_tables(markdown.replace("&lt;", "<")) for row in table
    }
    for table in of_figures:
        for row in table[1:]:
            assert re.sub(r"\W+", "", "".join(row)) in flat, row


def test_markdown_tables_are_whole(written):
    markdown = written[4]
    for table in markdown_tables(markdown):
        assert len({len(row) for row in table}) == 1, table
    assert "<b>" not in markdown


def test_differences_between_models_are_shown_with_their_verdicts(written):
    _, _, facts, page, markdown = written
    header = ["Models", "Figure", "Difference", "95 % interval", "p", "Test", "Verdict"]
    tables = [table for table in page.of_section["lfw"] if table[0] == header]
    rows = [row for table in tables for row in table[1:]]
    given = sorted(facts["targets"][0]["comparisons"], key=lambda c: c["metric"] != "accuracy")
    assert len(rows) == len(given) == 6
    for row, entry in zip(rows, given):
        assert row[0] == f"{NAMES[entry['first']]} − {NAMES[entry['second']]}"
        assert row[1] == {"accuracy": "accuracy", "tar@0.001": "TAR at FAR 0.1 %"}[entry["metric"]]
        assert row[2:4] == ["-1.23", "-2.00 to -0.40"]
        assert row[4] == f"{entry['p_adjusted']:.4f} ({entry['p_value']:.4f} by itself)"
        assert row[5:] == [entry["method"], entry["verdict"]]
        assert row in [cells for table in markdown_tables(markdown) for cells in table]


def test_the_figure_that_matters_most_is_compared_in_sight():
    entries = [{"first": 0, "second": 1, "metric": metric} for metric in ("tar@0.1", "tar@0.0001", "eer")]
    first, others = comparison_tables(["a", "b"], entries, ["tar@1e-06", "tar@0.0001"])
    assert [row[1] for row in first.rows] == ["TAR at FAR 0.01 %"]
    assert [row[1] for row in others.rows] == ["TAR at FAR 10 %", "EER"]
    assert (first.folded, others.folded) == (False, True)
    assert comparison_tables(["a", "b"], entries)[0].rows[0][1] == "TAR at FAR 10 %"
    (many,) = comparison_tables(["a", "b"], entries[:1] * 7)
    assert many.folded


def test_groups_are_shown_for_each_model(written):
    _, _, facts, page, _ = written
    tables = [table for table in page.of_section["lfw"] if table[0][0] == "Group"]
    assert len(tables) == 3
    for table, outcome in zip(tables, facts["targets"][0]["outcomes"]):
        assert table[0] == ["Group", "pairs", "genuine", "impostor", "accuracy", "FMR at FAR 1 %", "FNMR at FAR 1 %"]
        for row, group in zip(table[1:], outcome["groups"]):
            rate = group["rates"]["0.01"]
            assert row[:4] == [group["group"], "800", "400", "400"]
            assert row[4].startswith(percent(group["accuracy"]) + " (")
            assert [row[5].split(" (")[0], row[6].split(" (")[0]] == [percent(rate["fmr"]), percent(rate["fnmr"])]
    (apart, *_) = [table for table in page.of_section["lfw"] if table[0][0] == "At FAR"]
    assert apart[1:] == [["1 %", "3.21 times", "1.54 times", "2.05 times"]]  # nothing of FAR 0.1 %: null


def test_thresholds_to_deploy_are_those_of_the_json(written):
    _, _, facts, page, _ = written
    for section, target, key, distance in (("lfw", 0, "operating_points", True), ("doors", 3, "open_set", False)):
        tables = [table for table in page.of_section[section] if table[0][-1] == "false accepts allowed"]
        for table, outcome in zip(tables, facts["targets"][target]["outcomes"], strict=True):
            for row, point in zip(table[1:], outcome[key], strict=True):
                at, allowed = point["threshold"], f"{point['allowed_false_accepts']:,}"
                cosine = None if at is None else 1 - at / 2 if distance else at
                expected = ([at] if distance else []) + [cosine]
                assert row[2:] == ["–" if value is None else f"{value:.4f}" for value in expected] + [allowed]


def test_findings_and_warnings_stand_at_the_top_and_once(written):
    _, _, _, page, markdown = written
    top = page.text.split("pairs of one person (genuine)")[0]
    for text in (" ".join(top.split()), markdown.split("\n## lfw")[0].replace("&lt;", "<").replace("*", "")):
        assert text.count("own <b>set</b>, r50: The model separates better in BGR. Try --bgr. (channel order)") == 1
        assert text.count("own <b>set</b>, r50, r100, vit_b: AUC is low") == 1


def test_pictures_are_those_the_facts_name_and_no_more(written):
    scored, _, facts, page, _ = written
    asked = {entry.target.name: set(entry.target.asked) for entry in scored}
    lfw, _, ijbc, doors, _, everyone, _ = facts["targets"]
    pairs = [p["pair"] for o in lfw["outcomes"] for kind in ("false_accepts", "false_rejects") for p in o[kind][:3]]
    assert asked["lfw"] == {2 * pair + side for pair in pairs for side in (0, 1)}
    assert asked["doors"] == {3, 4, 5, 20, 7, 9, 31}
    worst = [one for one in everyone["outcomes"][0]["worst"] if one["same"]][:3]
    worst += [one for one in everyone["outcomes"][0]["worst"] if not one["same"]][:3]
    assert asked["everyone"] == {one[side] for one in worst for side in ("first", "second")}
    assert asked["moon"] == set()
    shown = [base64.b64decode(source.split(",", 1)[1]) for source in page.sources if "jpeg" in source]
    assert all(len(file) < 8000 for file in shown)


def test_a_large_picture_is_made_small_and_asked_for_once(tmp_path):
    class Large(MadeTarget):
        def picture(self, index):
            self.asked.append(index)
            return np.zeros((900, 1200, 3), np.uint8)

    target = Large("identification", "doors")
    known = Made({"misses": [{"probe": "a", "picture": 7, "found": "b", "found_picture": 8}] * 2, "ranks": {"1": 0.5}})
    _, page, _ = written_alone(tmp_path, target, known, known)
    assert sorted(target.asked) == [7, 8]
    shown = [source for source in page.sources if "jpeg" in source]
    assert len(shown) == 8
    assert {pil_pixels(base64.b64decode(source.split(",", 1)[1])).shape for source in shown} == {(84, 112, 3)}


def test_nothing_comes_from_outside_and_text_is_escaped(written):
    _, _, _, page, _ = written
    assert page.outside == []
    assert not {"script", "link", "iframe", "b"} & set(page.tags)
    assert "own <b>set</b>" in page.text
    assert all(page.alts)
    assert not re.search(r"url\(|@import", page.text)


def test_names_of_the_pictures_are_shown_where_known(written):
    _, _, facts, page, markdown = written
    pair = facts["targets"][0]["outcomes"][0]["false_accepts"][0]
    assert f"first {pair['first']}" in page.text
    assert pair["second"].replace("|", "\\|") in markdown


def test_a_kind_without_a_page_is_a_plain_table(written):
    _, _, _, page, markdown = written
    rows = {row[0]: row[1:] for row in page.of_section["moon"][0]}
    assert rows["phase"] == ["full"] * 3
    assert rows["light, lux"] == ["0.3"] * 3
    assert rows["days"] == ["28 entries"] * 3
    assert "| light, lux | 0.3 | 0.3 | 0.3 |" in markdown


@pytest.mark.parametrize("kind", ["pairs", "templates", "identification", "all_to_all", "novel"])
def test_what_is_absent_is_not_shown(tmp_path, kind):
    facts, page, markdown = written_alone(tmp_path, MadeTarget(kind, "bare"), Made({}), Made({"eer": None}))
    assert facts["targets"][0]["outcomes"] == [{"warnings": []}, {"eer": None, "warnings": []}]
    assert not [source for source in page.sources if "svg" in source]
    assert "None" not in page.text + markdown
    assert "undefined" not in (page.text + markdown).lower()


def test_a_picture_that_is_gone_costs_no_report(tmp_path):
    class Gone(MadeTarget):
        def picture(self, index):
            raise OSError("gone")

    known = {"misses": [{"probe": "a", "picture": 0, "found": "b", "found_picture": 1}], "ranks": {"1": 0.5}}
    _, page, _ = written_alone(tmp_path, Gone("identification", "doors"), Made(known))
    assert "probe a" in page.text
    assert not [source for source in page.sources if "jpeg" in source]


def test_a_model_that_failed_on_a_target_is_named_and_has_dashes_there(tmp_path):
    whole = made_up(3)
    target, outcomes = whole[0].target, whole[0].outcomes
    target.comparisons = [{**target.comparisons[0], "first": 0, "second": 1}]
    finding = Finding("nan", "3 of 40 embeddings are NaN", "try float32")
    lost = Failed(1, "3 of 40 embeddings are NaN; try float32", finding)
    nothing = tuple(Failed(place, "photo.jpg is gone") for place in range(3))
    scored = [Scored(target, (outcomes[0], outcomes[2]), (lost,)), Scored(MadeTarget("pairs", "torn"), (), nothing)]
    write_report(tmp_path, scored, models=MODELS[:3])
    facts, page = strict_json(tmp_path / "report.json"), Page((tmp_path / "index.html").read_text())
    markdown = (tmp_path / "report.md").read_text()
    assert (facts["targets"][0]["models"], facts["targets"][1]["models"]) == ([0, 2], [])
    assert facts["targets"][0]["failed"] == [{"model": 1, "reason": lost.reason, "finding": finding.facts()}]
    headline = page.tables[0]
    assert headline[0] == ["Set", *NAMES]
    accuracy = next(row for row in headline if "Accuracy" in row[0])
    shown = [percent(outcome.facts()["accuracy"]) for outcome in (outcomes[0], outcomes[2])]
    assert (accuracy[1].startswith(shown[0]), accuracy[2], accuracy[3].startswith(shown[1])) == (True, "–", True)
    assert page.of_section[target.name][0][0] == ["Figure", "r50", "vit_b"]
    for text in (page.text, markdown):
        assert f"{target.name}, r100: no figures." in text
        assert lost.reason in text
        assert "torn, r50, r100, vit_b: no figures." in text
        assert "photo.jpg is gone" in text
    jsonschema.validate(facts, DOCUMENT)
