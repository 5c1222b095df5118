"""The page of all demonstrations: figures as the reports have them, what is too low, links that lead somewhere."""

import json
import re

import pytest

from generation.demo.summary import Demonstration, Figure, figures_of, is_done, write_summary
from recognition.errors import InputError

FIGURES = (
    Figure("accuracy", "r/report.json", ("targets", {"name": "b"}, "outcomes", 0, "accuracy"), least=0.8),
    Figure("gain", "r/report.json", ("gain", "low"), least=0.0, form="{:+.1f} dB"),
    Figure("time", "r/report.json", ("step_ms",)),
)
ONE = Demonstration(
    "one", "The first", "What it <shows>.", "one.py", "first", {"its report": "r/index.html"}, FIGURES, "r/sheet.png"
)


def reported(out, accuracy=0.9, low=1.5):
    folder = out / "first" / "r"
    folder.mkdir(parents=True, exist_ok=True)
    targets = [{"name": name, "outcomes": [{"accuracy": value}]} for name, value in (("a", 0.1), ("b", accuracy))]
    (folder / "report.json").write_text(json.dumps({"targets": targets, "gain": {"low": low}, "step_ms": 12.25}))
    (folder / "index.html").write_text("-")
    (folder / "sheet.png").write_bytes(b"picture")


def test_figures_are_found_where_they_are_said_to_be(tmp_path):
    reported(tmp_path)
    found = figures_of(ONE, tmp_path)
    assert [each.value for each in found] == [0.9, 1.5, 12.25]
    assert [each.shown() for each in found] == ["0.900", "+1.5 dB", "12.250"]
    assert all(each.is_met for each in found)


@pytest.mark.parametrize(("accuracy", "low", "said"), [
    (0.79, 1.5, "one: accuracy is 0.790, and should be at least 0.800"),
    (0.9, -0.1, "one: gain is -0.1 dB, and should be at least +0.0 dB"),
    (None, 1.5, "one: accuracy is not there, and should be at least 0.800"),
    (True, 1.5, "one: accuracy is not there, and should be at least 0.800"),
])  # fmt: skip
def test_what_is_too_low_is_told(accuracy, low, said, tmp_path):
    reported(tmp_path, accuracy, low)
    page, low_figures = write_summary(tmp_path, [ONE])
    assert low_figures == [said]
    assert "too low" in page.read_text()


def test_the_page_and_its_facts(tmp_path):
    reported(tmp_path)
    page, low = write_summary(tmp_path, [ONE], {"one": 61.4})
    assert low == []
    text = page.read_text()
    assert "What it &lt;shows&gt;." in text
    assert "61 s" in text
    assert "too low" not in text
    for link in re.findall(r'href="([^"]+)"', text):
        assert (tmp_path / link).is_file()
    assert "data:image/png;base64,cGljdHVyZQ==" in text
    facts = json.loads((tmp_path / "demonstrations.json").read_text())
    assert facts["demonstrations"]["one"][1] == {"label": "gain", "value": 1.5, "least": 0.0}


def test_what_has_not_run(tmp_path):
    assert not is_done(ONE, tmp_path)
    reported(tmp_path)
    assert is_done(ONE, tmp_path)
    (tmp_path / "first" / "r" / "index.html").unlink()
    assert not is_done(ONE, tmp_path)
    (tmp_path / "first" / "r" / "report.json").write_text("{")
    with pytest.raises(InputError, match="report.json cannot be read"):
        figures_of(ONE, tmp_path)
