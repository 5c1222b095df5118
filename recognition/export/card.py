"""The model card: README.md with the YAML header that Hugging Face reads, filled by what is known and no more.

Fields of the header: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recognition.export.origin import Evaluation, Origin
from recognition.page import page_environment

LIBRARY, PIPELINE = "arcscale", "image-feature-extraction"
TASK = "face-verification"
NOT_STATED = "not stated"


def model_card(
    name: str,
    meta: Mapping[str, Any],
    origin: Origin,
    *,
    license_name: str = "unknown",
    datasets: Sequence[str] = (),
    onnx_files: Sequence[str] = (),
) -> str:
    """The text of README.md; `datasets` are names on Hugging Face, `onnx_files` paths inside of the folder."""
    header = {
        "license": license_name,
        "library_name": LIBRARY,
        "pipeline_tag": PIPELINE,
        "tags": ["face-recognition", TASK, *dict.fromkeys((_family(meta["network"]), meta["network"]))],
        **({"datasets": list(datasets)} if datasets else {}),
        **({"metrics": ["accuracy"], "model-index": [_index(name, origin.evaluations)]} if origin.evaluations else {}),
    }
    environment = page_environment(Path(__file__).parent, escape=False)
    environment.filters["cell"] = _cell
    body = environment.get_template("card.md").render(
        name=name,
        meta=meta,
        origin=origin,
        license_name=license_name,
        datasets=list(datasets),
        onnx_files=list(onnx_files),
        not_stated=NOT_STATED,
    )
    return "\n".join(["---", *yaml_lines(header), "---", "", body])


def yaml_lines(value: Any, indent: int = 0) -> list[str]:
    """Mappings, lists and JSON scalars as YAML in block style; every text is quoted, so none is taken for a number."""
    space = " " * indent
    if isinstance(value, Mapping):
        lines = []
        for key, entry in value.items():
            if isinstance(entry, (Mapping, list)) and entry:
                lines += [f"{space}{key}:", *yaml_lines(entry, indent + 2)]
            else:
                lines.append(f"{space}{key}: {json.dumps(entry, ensure_ascii=False)}")
        return lines
    if isinstance(value, list):
        lines = []
        for entry in value:
            first, *rest = yaml_lines(entry, indent + 2)
            lines += [f"{space}- {first[indent + 2 :]}", *rest]
        return lines
    return [f"{space}{json.dumps(value, ensure_ascii=False)}"]


def _index(name: str, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    results = [
        {
            "task": {"type": TASK, "name": "Face verification"},
            "dataset": {"type": entry.name, "name": entry.name},
            "metrics": [
                {"type": "accuracy", "value": round(entry.accuracy, 6), "name": "Accuracy, ten folds, mirror images"}
            ],
        }
        for entry in evaluations
    ]
    return {"name": name, "results": results}


def _family(network: str) -> str:
    kinds = {"r": "iresnet", "m": "mobilefacenet", "v": "vit"}
    return kinds.get(network[:1], network)


def _cell(value: Any) -> str:
    """Text that cannot end its table cell."""
    return str(value).replace("|", "\\|").replace("\n", " ")
