"""What a reader sees of a page: its tables, cell by cell, and its pictures."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """`tables`: rows of cell texts; `text`: all text; `sources`: of its pictures; `outside`: what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables, self.text, self.sources, self.alts, self.outside, self.tags = [], "", [], [], [], []
        self.section, self.of_section = "", {}
        self._cell = self._heading = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.sources.append(attributes["src"])
            self.alts.append(attributes["alt"])
        self.outside += [
            v for k, v in attrs if k in ("src", "href", "srcset", "data") and not v.startswith(("data:", "#"))
        ]
        if tag == "table":
            self.tables.append([])
            self.of_section.setdefault(self.section, []).append(self.tables[-1])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = ""
        elif tag == "h2":
            self._heading = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(" ".join(self._cell.split()))
            self._cell = None
        elif tag == "h2":
            self.section, self._heading = self._heading.strip(), None

    def handle_data(self, data):
        self.text += data
        if self._cell is not None:
            self._cell += data
        if self._heading is not None:
            self._heading += data


def strict_json(path: Path) -> dict:
    """JSON as the standard has it: NaN and Infinity are an error."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def markdown_tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text, cell by cell, without the line below the heads."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = ([re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()] for table in tables)
    return [[[cell.strip() for cell in row] for row in table if not set("".join(row)) <= {"-"}] for table in rows]
