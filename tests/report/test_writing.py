"""The report: one set of figures on the page, in Markdown and in strict JSON; nothing from outside; text escaped."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from recognition.data.substitutes import BadRecord
from recognition.report.writing import write_report
from recognition.targets.pairs import PairsOutcome, PairsTarget
from recognition.targets.target import Scored
from recognition.verification import Pairs, verify_pairs
from tests.verification.synthetic import jpeg, noisy_pairs, pil_pixels

MODEL = {
    "network": "r50<script>alert(1)</script>",
    "params": 43590848,
    "sha256": "ab" * 32,
    "config": {"rec": "a|b", "lr": 0.1},
}


def result(seed=0, noise=1.4, num_pairs=600):
    embeddings, issame = noisy_pairs(seed, noise, num_pairs)
    return PairsOutcome(verify_pairs(embeddings, issame), 21.25)


class Unseen(PairsTarget):
    """A set whose pictures cannot be shown."""

    def picture(self, index):
        return None


def scored_as(name, outcome):
    pictures = np.zeros((2 * len(outcome.result.issame_P), 8, 8, 3), np.uint8)
    return [Scored(PairsTarget(name, Pairs(pictures, outcome.result.issame_P)), (outcome,))]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    results = {"lfw": result(), "agedb_30": result(1, 1.7)}
    pictures = np.stack([pil_pixels(jpeg(index % 20, 32)) for index in range(1200)])
    rows = [{"kind": "train", "step": step, "loss": 40 - step, "lr": 0.1} for step in range(20)]
    rows[3]["loss"] = float("nan")
    rows.append({"kind": "verification", "step": 20, "target": "lfw", "accuracy": 0.9})
    out = tmp_path_factory.mktemp("run") / "report"
    targets = [
        PairsTarget("lfw", Pairs(pictures, results["lfw"].result.issame_P)),
        Unseen("agedb_30", Pairs(pictures, results["agedb_30"].result.issame_P)),
    ]
    scored = [Scored(target, (results[target.name],)) for target in targets]
    page = write_report(out, scored, models=[MODEL], training_rows=rows)
    assert page == out / "index.html"
    return results, out


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_there_are_three_files_and_nothing_else(written):
    assert sorted(path.name for path in written[1].iterdir()) == ["index.html", "report.json", "report.md"]


def test_json_holds_the_documented_schema(written):
    results, out = written
    report = strict((out / "report.json").read_text())
    assert list(report) == ["schema", "created", "models", "targets", "training", "bad_records"]
    assert report["schema"] == "arcscale.verification.3"
    assert report["models"] == [MODEL | {"name": MODEL["network"]}]
    assert [target["name"] for target in report["targets"]] == ["lfw", "agedb_30"]
    for target in report["targets"]:
        assert (target["kind"], target["comparisons"]) == ("pairs", [])
        score = results[target["name"]].result
        (target,) = target["outcomes"]
        for key in ("accuracy", "accuracy_std", "threshold", "auc", "eer"):
            assert target[key] == getattr(score, key)
        assert tuple(target["fold_accuracies"]) == score.fold_accuracies
        assert target["tar_at_far"] == {
            "0.1": score.tar_at_far[0.1],
            "0.01": score.tar_at_far[0.01],
            "0.001": None,
            "0.0001": None,
            "1e-05": None,
            "1e-06": None,
        }
        assert (target["xnorm"], target["pairs"], target["genuine"], target["impostor"]) == (21.25, 600, 300, 300)
        assert sum(target["histogram"]["genuine"]) == sum(target["histogram"]["impostor"]) == 300
        assert target["roc"]["distance"][0] is None  # -inf: accepts nobody
        assert target["roc"]["far"][-1] == target["roc"]["tar"][-1] == 1
    assert report["training"]["step"] == list(range(20))
    assert report["training"]["loss"][3] is None


def test_where_a_model_comes_from_is_shown_apart(tmp_path):
    facts = {"commit": "c0ffee-dirty", "config_sha256": "1a" * 32, "data_sha256": None, "torch": "2.13|cpu"}
    write_report(tmp_path, [], models=[{"network": "r50", "provenance": facts}])
    assert strict((tmp_path / "report.json").read_text())["models"][0]["provenance"] == facts
    page = Collect()
    page.feed((tmp_path / "index.html").read_text())
    text = (tmp_path / "report.md").read_text()
    for shown in ("c0ffee-dirty", "1a" * 32, "data sha256"):
        assert page.text.count(shown) == text.count(shown) == 1
    assert "| torch | 2.13\\|cpu |" in text
    write_report(tmp_path, [], models=[{"network": "r50", "provenance": None}])
    assert "Where it comes from" not in (tmp_path / "index.html").read_text() + (tmp_path / "report.md").read_text()


def test_of_many_bad_records_the_pages_show_the_first_and_say_so(tmp_path):
    records = [BadRecord(index, f"set<{index}>|.rec", "torn") for index in range(1021)]
    write_report(tmp_path, [], models=[{"network": "r50"}], bad_records=records)
    assert len(strict((tmp_path / "report.json").read_text())["bad_records"]) == 1021
    page = Collect()
    page.feed((tmp_path / "index.html").read_text())
    text = (tmp_path / "report.md").read_text()
    for shown in (page.text, text):
        assert "1,021 records of the training set could not be read" in shown
        assert "bad_records.csv lists all, here are the first 20" in shown
        assert re.search(r"set(<|&lt;)19>", shown)
        assert not re.search(r"set(<|&lt;)20>", shown)
    assert "| 19 | set&lt;19>\\|.rec | torn |" in text
    write_report(tmp_path, [], models=[{"network": "r50"}], bad_records=records[:1])
    text = (tmp_path / "report.md").read_text()
    assert "1 record of the training set could not be read, and others were shown in their place." in text
    write_report(tmp_path, [], models=[{"network": "r50"}])
    assert "could not be read" not in (tmp_path / "index.html").read_text() + (tmp_path / "report.md").read_text()


def test_the_worst_pairs_are_the_worst(written):
    results, out = written
    for target in strict((out / "report.json").read_text())["targets"]:
        score = results[target["name"]].result
        (target,) = target["outcomes"]
        wrong = {"false_accepts": [], "false_rejects": []}
        for pair, (distance, same) in enumerate(zip(score.distances_P, score.issame_P)):
            if (distance < score.threshold) != same:
                wrong["false_rejects" if same else "false_accepts"].append((distance, pair))
        for kind, found in wrong.items():
            found.sort(reverse=kind == "false_rejects")
            assert target[f"num_{kind}"] == len(found)
            assert [entry["pair"] for entry in target[kind]] == [pair for _, pair in found[:6]]
            for entry in target[kind]:
                assert entry["cosine"] == pytest.approx(1 - entry["distance"] / 2, abs=1e-15)


class Collect(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.links, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.sources += [attributes["src"]] if "src" in attributes else []
        self.links += [attributes["href"]] if "href" in attributes else []

    def handle_data(self, data):
        self.text += data


def test_the_page_is_self_contained_and_escaped(written):
    results, out = written
    page = Collect()
    page.feed((out / "index.html").read_text())
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "<script>alert(1)</script>" in page.text  # as text
    svgs = [base64.b64decode(s.split(",", 1)[1]).decode() for s in page.sources if "svg" in s]
    assert len(svgs) == 7  # ROC, DET and histogram of two sets, the loss curve
    assert all(svg.startswith("<?xml") for svg in svgs)
    faces = [source for source in page.sources if "jpeg" in source]
    wrong = strict((out / "report.json").read_text())["targets"][0]["outcomes"][0]
    assert len(faces) == 2 * (len(wrong["false_accepts"]) + len(wrong["false_rejects"]))  # only lfw came with pictures
    for score in (entry.result for entry in results.values()):
        assert f"{score.accuracy * 100:.2f} %" in page.text
        assert f"{score.tar_at_far[0.01] * 100:.2f} %" in page.text
        assert f"{score.auc:.4f}" in page.text
    assert "TAR at FAR 1 %" in page.text
    assert "TAR at FAR 0.1 % and below needs 1,000 impostor pairs, has 300" in " ".join(page.text.split())


def test_the_pictures_are_those_of_the_pair(written):
    results, out = written
    text = (out / "index.html").read_text()
    pair = strict((out / "report.json").read_text())["targets"][0]["outcomes"][0]["false_accepts"][0]["pair"]
    found = re.findall(rf'src="data:image/jpeg;base64,([^"]+)" alt="\w+ picture of pair {pair}"', text)[:2]
    for offset, data in enumerate(found):
        shown = pil_pixels(base64.b64decode(data)).astype(int)
        assert np.abs(shown - pil_pixels(jpeg((2 * pair + offset) % 20, 32))).mean() < 8  # encoded once more
    assert len(found) == 2


def test_markdown_has_the_same_figures_in_whole_tables(written):
    results, out = written
    text = (out / "report.md").read_text()
    for name, score in ((name, entry.result) for name, entry in results.items()):
        assert f"| {name} | Accuracy | {score.accuracy * 100:.2f} % (" in text  # and its interval
        part = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert f"| Accuracy | {score.accuracy * 100:.2f} % (" in part
        assert f"| Standard deviation over the folds | {score.accuracy_std * 100:.2f} % |" in part
        assert f"| EER | {score.eer * 100:.2f} % (" in part
    assert "a\\|b" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table
    assert len(tables) >= 6


def test_numbers_that_are_not_finite_become_null_and_a_dash(tmp_path):
    model = {
        "network": "r18",
        "loss": float("inf"),
        "step": np.int64(3),
        "list": (np.float32(1.5), float("nan")),
        "path": tmp_path,
    }
    write_report(tmp_path, scored_as("a", PairsOutcome(result().result, float("nan"))), models=[model])
    report = strict((tmp_path / "report.json").read_text())
    assert report["targets"][0]["outcomes"][0]["xnorm"] is None
    assert report["models"][0] == {
        "network": "r18",
        "loss": None,
        "step": 3,
        "list": [1.5, None],
        "path": str(tmp_path),
        "name": "r18",
    }
    assert report["training"] is None
    assert "| XNorm | – |" in (tmp_path / "report.md").read_text()


def test_a_report_without_results_and_one_of_a_perfect_model(tmp_path):
    write_report(tmp_path / "none", [], models=[{}])
    assert "No verification set was given" in (tmp_path / "none" / "index.html").read_text()
    write_report(tmp_path / "perfect", scored_as("a", result(0, 0.01)), models=[{"file": "x.onnx"}])
    report = strict((tmp_path / "perfect" / "report.json").read_text())
    (outcome,) = report["targets"][0]["outcomes"]
    assert (outcome["accuracy"], outcome["false_accepts"]) == (1, [])


def test_warnings_are_shown(tmp_path):
    embeddings = np.ones((1200, 4))
    score = verify_pairs(embeddings, result().result.issame_P)
    write_report(tmp_path, scored_as("a", PairsOutcome(score, 2.0)), models=[{}])
    for name in ("index.html", "report.md"):
        assert "nearly the same direction" in (tmp_path / name).read_text()


def test_the_same_input_gives_the_same_bytes_but_for_the_date(tmp_path):
    for name in "ab":
        write_report(tmp_path / name, scored_as("x", result()), models=[{}])
    for file in ("index.html", "report.md", "report.json"):
        date = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d"
        first, second = (re.sub(date, "", (tmp_path / name / file).read_text()) for name in "ab")
        assert first == second
