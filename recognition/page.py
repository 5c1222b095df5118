"""The self-contained HTML pages of all reports: one look (page.html), pictures inside the file, facts for people."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2


def page_environment(folder: Path, *, escape: bool) -> jinja2.Environment:
    """Templates of `folder`, which may extend page.html; a name that a template uses and nobody gave is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    return environment


def data_uri(kind: str, data: str | bytes) -> str:
    """A picture as an address that holds it; `kind`: jpeg, png or svg+xml."""
    data = data.encode() if isinstance(data, str) else data
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def captioned(svg: str, caption: str) -> dict[str, str]:
    """A chart as `chart_list` of pieces.html takes it; whoever does not see it is read the caption."""
    return {"uri": data_uri("svg+xml", svg), "alt": caption, "caption": caption}


def shown(value: Any) -> str:
    """A fact as a person writes it: 2,059,520 and 0.1, and text as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
