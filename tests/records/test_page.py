"""The page of a set: what it shows, that it needs no other file, and that it is written whole or not at all."""

import base64
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from recognition.data.recordio import RecordReader
from recognition.errors import InputError
from recognition.records.counting import stats
from recognition.records.histograms import class_sizes_svg, file_sizes_svg
from recognition.records.packing import pack_folder
from recognition.records.page import chosen_classes, write_stats
from tests.pictures import write_people

COUNTS = {"anna <b>": 3, "bert": 1, "carl": 11, "dora": 2}


class Page(HTMLParser):
    """The tags, texts and addresses of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.pictures, self.links, self.texts = Counter(), [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags[tag] += 1
        if tag == "img":
            self.pictures.append(attributes["src"])
            assert attributes["alt"]
        self.links += [value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")]

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def rec(tmp_path) -> Path:
    """Four classes of 16x16 JPEGs."""
    return pack_folder(write_people(tmp_path / "people", COUNTS), tmp_path / "set").path


def pictures(page: Page, kind: str) -> list[bytes]:
    begin = f"data:image/{kind};base64,"
    return [base64.b64decode(src.removeprefix(begin)) for src in page.pictures if src.startswith(begin)]


def test_the_page_shows_the_set_and_needs_nothing_else(rec, tmp_path):
    seen = write_stats(rec, tmp_path / "out")
    html = (tmp_path / "out" / "index.html").read_text()
    page = Page(html)
    assert page.links == []
    assert "url(" not in html
    assert page.tags["script"] == page.tags["link"] == page.tags["b"] == 0
    text = " ".join(page.texts)
    for shown in ("17", "16x16 (17)", "1 to 11, median 2.5", "train.crc", "class 0 · anna <b> · 3 images"):
        assert shown in text
    assert "class 1 · bert · 1 image " in re.sub(r"\s+", " ", text)
    assert len(pictures(page, "svg+xml")) == 2
    assert len(pictures(page, "png")) == 1
    # The pictures of the four classes, at most eight of each, are those of the records.
    with RecordReader(rec) as reader:
        known = {bytes(reader.read(key).payload): reader.read(key).label for key in reader.image_keys}
    shown = Counter(known[picture] for picture in pictures(page, "jpeg"))
    assert shown == {0: 3, 1: 1, 2: 8, 3: 2}
    assert json.loads((tmp_path / "out" / "stats.json").read_text()) == seen.facts()
    counted = stats(rec)
    assert (counted.num_images, counted.image_bytes) == (seen.num_images, seen.image_bytes)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.html", "stats.json"]


def test_large_pictures_are_shown_small(tmp_path):
    rec = pack_folder(write_people(tmp_path / "people", {"anna": 2}, size=300), tmp_path / "set").path
    write_stats(rec, tmp_path / "out")
    page = Page((tmp_path / "out" / "index.html").read_text())
    with RecordReader(rec) as reader:
        assert all(len(picture) < len(reader.read(1).payload) / 3 for picture in pictures(page, "jpeg"))


def test_a_damaged_picture_is_named_and_no_page_is_written(rec, tmp_path):
    with RecordReader(rec) as reader:
        at = reader.offset(3)
    data = bytearray(rec.read_bytes())
    data[at + 32 : at + 40] = bytes(8)
    rec.write_bytes(data)
    with pytest.raises(InputError, match="key 3 at offset"):
        write_stats(rec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("counts", [[5], [1, 2], [3, 3, 3], [9, 1, 4, 4, 2], list(range(40, 0, -1)), [2] * 100])
def test_chosen_classes(counts):
    chosen = chosen_classes(np.array(counts), 4)
    places = [place for block in chosen.values() for place in block.tolist()]
    assert len(set(places)) == len(places) == min(len(counts), 12)
    assert len(counts) < 3 or all(len(block) for block in chosen.values())
    ordered = sorted(counts)
    assert sorted(counts[place] for place in chosen["largest"]) == ordered[::-1][: len(chosen["largest"])][::-1]
    if len(counts) >= 12:
        assert sorted(counts[place] for place in chosen["smallest"]) == ordered[:4]
        assert abs(np.median(counts) - np.median([counts[place] for place in chosen["middle"]])) <= 0.5


def test_charts_of_extremes():
    """One class, one size, empty files, and the same numbers give the same chart."""
    assert class_sizes_svg([(1, 1, 1)]).startswith("<?xml")
    assert class_sizes_svg([(1 << n, (2 << n) - 1, 10**n) for n in range(12)]).count("<g id=") > 10
    assert file_sizes_svg(np.zeros(3, np.int64)).startswith("<?xml")
    assert file_sizes_svg(np.array([5, 5, 9])) == file_sizes_svg(np.array([5, 5, 9]))
