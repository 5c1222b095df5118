"""report.schema.json: reports fit it, reports that lie do not, and it documents every field that a report has."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import recognition.report
from recognition.data.substitutes import BadRecord
from recognition.report.writing import SCHEMA, write_report
from recognition.targets.pairs import PairsOutcome, PairsTarget
from recognition.targets.target import Scored
from recognition.verification import Pairs, verify_pairs
from tests.pictures import face
from tests.report.made_up import MODELS, made_up
from tests.report.reading import strict_json
from tests.verification.synthetic import noisy_pairs

FILE = Path(recognition.report.__file__).parent / "report.schema.json"
DOCUMENT = json.loads(FILE.read_text())
FITS = Draft202012Validator(DOCUMENT)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """One of every kind, without the charts that pages need time for."""
    out = tmp_path_factory.mktemp("report")
    rows = [{"kind": "train", "step": 1, "loss": float("nan"), "lr": 0.1}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recognition.report.writing._template", lambda name, escape: Blank())
        patch.setattr("recognition.report.writing._view", lambda facts, scored: {})
        bad = [BadRecord(7, "train.rec", "torn")]
        write_report(out, made_up(2), models=MODELS[:2], training_rows=rows, bad_records=bad)
    return strict_json(out / "report.json")


class Blank:
    def render(self, view):
        return ""


def test_the_schema_is_one_and_has_the_reports_name():
    Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["$id"] == SCHEMA == DOCUMENT["properties"]["schema"]["const"] == "arcscale.verification.3"


def test_a_report_of_every_kind_fits(report):
    assert [error.message for error in FITS.iter_errors(report)] == []


def test_a_report_of_a_real_verification_fits(tmp_path):
    embeddings, issame = noisy_pairs(0, 1.4, 60)
    target = PairsTarget("lfw", Pairs([face(16)] * 120, issame))
    write_report(tmp_path, [Scored(target, (PairsOutcome(verify_pairs(embeddings, issame), 2.0),))], models=[{}])
    assert [error.message for error in FITS.iter_errors(strict_json(tmp_path / "report.json"))] == []


LIES = {
    ("schema",): "arcscale.verification.2",
    ("models", 0, "name"): None,
    ("targets", 0, "outcomes", 0, "accuracy"): 97.3,
    ("targets", 0, "outcomes", 0, "operating_points", 0, "tar"): "0.9",
    ("targets", 0, "outcomes", 0, "operating_points", 0, "flag"): "fine",
    ("targets", 0, "outcomes", 0, "intervals", "accuracy"): [0.9],
    ("targets", 0, "outcomes", 0, "resampling", "unit"): "pictures",
    ("targets", 0, "outcomes", 0, "groups", 0, "rates", "0.01", "fmr"): -1,
    ("targets", 0, "comparisons", 0, "first"): "r50",
    ("targets", 1, "outcomes", 0, "diagnosis", 0, "sentence"): None,
    ("targets", 2, "outcomes", 0, "impostor"): -3,
    ("targets", 2, "outcomes", 0, "identification", "ranks", "1"): 2,
    ("targets", 3, "outcomes", 0, "ranks"): [0.9],
    ("targets", 3, "outcomes", 0, "open_set", 0, "fpir"): None,
    ("targets", 5, "outcomes", 0, "worst", 0, "same"): "no",
    ("targets", 6, "outcomes", 0, "warnings"): "none",
    ("training", "loss"): None,
    ("bad_records", 0, "index"): "7",
}


@pytest.mark.parametrize("place", LIES, ids=lambda place: ".".join(map(str, place)))
def test_a_report_that_lies_does_not(report, place):
    changed = copy.deepcopy(report)
    at = changed
    for key in place[:-1]:
        at = at[key]
    assert place[-1] in at or isinstance(at, list)
    at[place[-1]] = LIES[place]
    assert not FITS.is_valid(changed)


@pytest.mark.parametrize("missing", ["accuracy", "warnings"])
def test_what_every_pair_set_has_may_not_be_missing(report, missing):
    changed = copy.deepcopy(report)
    del changed["targets"][0]["outcomes"][1][missing]
    assert not FITS.is_valid(changed)


def test_every_field_that_a_report_has_is_documented(report):
    for index, target in enumerate(report["targets"]):
        if target["kind"] != "novel":
            part = {"$ref": f"#/$defs/{target['kind']}"}
            assert list(undocumented(target["outcomes"], {"items": part}, f"targets[{index}]")) == []
            assert list(undocumented(target["comparisons"], {"items": {"$ref": "#/$defs/comparison"}}, "")) == []
    for key in ("training", "bad_records"):
        assert list(undocumented(report[key], DOCUMENT["properties"][key], key)) == []


def test_every_property_has_a_description():
    assert list(undescribed(DOCUMENT, "")) == []


def undocumented(value, part, place):
    """Places of a report which its schema does not name."""
    parts = list(expanded(part))
    if isinstance(value, list):
        items = [one["items"] for one in parts if "items" in one]
        for number, entry in enumerate(value):
            for item in items[:1]:
                yield from undocumented(entry, item, f"{place}[{number}]")
    elif isinstance(value, dict):
        for key, entry in value.items():
            found = [one["properties"][key] for one in parts if key in one.get("properties", {})]
            found += [one["additionalProperties"] for one in parts if "additionalProperties" in one]
            if not found:
                yield f"{place}.{key}"
            for one in found[:1]:
                yield from undocumented(entry, one, f"{place}.{key}")


def expanded(part):
    """A part of the schema with all that it refers to and all that it is made of."""
    yield part
    if "$ref" in part:
        yield from expanded(DOCUMENT["$defs"][part["$ref"].rsplit("/", 1)[1]])
    for one in [*part.get("allOf", ()), *part.get("anyOf", ())]:
        yield from expanded(one)


def undescribed(part, place):
    if isinstance(part, dict):
        for key, entry in part.get("properties", {}).items():
            is_condition = set(entry) <= {"const", "items"} or set(entry) == {"properties"}
            if not is_condition and not any("description" in one for one in expanded(entry)):
                yield f"{place}.{key}"
        for key, entry in part.items():
            yield from undescribed(entry, f"{place}/{key}")
    elif isinstance(part, list):
        for number, entry in enumerate(part):
            yield from undescribed(entry, f"{place}/{number}")
