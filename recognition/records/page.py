"""What a record set looks like: index.html (self-contained), and stats.json with the figures in it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from recognition.atomic import write_text
from recognition.data.decode import announced_size, decoded, is_jpeg
from recognition.data.record_format import Record
from recognition.data.recordio import RecordReader
from recognition.data.threads import map_in_order
from recognition.page import data_uri, page_environment
from recognition.records.counting import Counted, count
from recognition.records.histograms import class_sizes_svg, file_sizes_svg
from recognition.records.inspection import Inspection
from recognition.records.layout import read_names
from recognition.records.mean_face import MOST_PICTURES, FaceView, MeanFace, face_view
from recognition.spread import spread

HTML, JSON = "index.html", "stats.json"
CLASSES_SHOWN, IMAGES_SHOWN = 4, 8
THUMBNAIL = 112


@dataclass(frozen=True)
class ShownClass:
    """A class on the contact sheet: a few of its `pictures`, as addresses that hold them."""

    label: int
    name: str | None
    num_images: int
    pictures: list[str]


def write_stats(rec: str | Path, out_dir: Path) -> Inspection:
    """Count the set, look at up to 2,000 of its images, and write the page and its JSON into `out_dir`.

    RecordError or InputError for damage among what is looked at; nothing is written then.
    """
    with RecordReader(rec) as reader:
        counted = count(reader)
        seen, mean = counted.seen, _look(reader, counted.seen)
        facts = _facts(seen, reader.num_bytes)
        names = read_names(reader) or []
        sheet = {
            title: [_shown_class(reader, counted, int(seen.classes[place]), names) for place in places]
            for title, places in chosen_classes(seen.images_per_class).items()
        }
    marked = io.BytesIO()
    mean.marked().save(marked, "PNG")
    page = (
        page_environment(Path(__file__).parent, escape=True)
        .get_template("page_of_a_set.html")
        .render(
            name=seen.path.resolve().parent.name,
            created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            facts=facts,
            class_sizes=data_uri("svg+xml", class_sizes_svg(seen.histogram())),
            file_sizes=data_uri("svg+xml", file_sizes_svg(counted.image_bytes)),
            sheet=sheet,
            mean_face=data_uri("png", marked.getvalue()),
            alignment=seen.alignment,
            remarks=seen.remarks,
        )
    )
    write_text(out_dir / JSON, json.dumps(seen.facts(), indent=1, allow_nan=False) + "\n")
    write_text(out_dir / HTML, page)
    return seen


def chosen_classes(images_per_class: np.ndarray, each: int = CLASSES_SHOWN) -> dict[str, np.ndarray]:
    """Places of up to `each` of the largest, the middle and the smallest classes; none twice, equal ones in order."""
    order = np.argsort(-images_per_class, kind="stable")
    each = min(each, -(-len(order) // 3))
    middle = (len(order) - each) // 2
    blocks = {"largest": order[:each], "middle": order[middle:][:each], "smallest": order[len(order) - each :]}
    chosen: dict[str, np.ndarray] = {}
    for title, places in blocks.items():
        before = [place for block in chosen.values() for place in block]
        chosen[title] = places[~np.isin(places, before)]
    return chosen


def _look(reader: RecordReader, seen: Inspection) -> MeanFace:
    """The mean of images spread over the set; their sizes and alignment are put into `seen`."""
    keys = reader.image_keys[spread(seen.num_images, MOST_PICTURES)]
    mean = MeanFace()
    looked = tqdm(map_in_order(lambda key: _view(reader.read(key)), keys), "looking", len(keys), delay=1, disable=None)
    for size, view in looked:
        seen.sizes[size] = seen.sizes.get(size, 0) + 1
        mean.add(view)
    seen.alignment = mean.alignment()
    return mean


def _view(record: Record) -> tuple[tuple[int, int], FaceView]:
    pixels_HWC = decoded(record.payload, record.where)
    return pixels_HWC.shape[:2], face_view(pixels_HWC)


def _shown_class(reader: RecordReader, counted: Counted, label: int, names: list[str]) -> ShownClass:
    places = np.flatnonzero(counted.labels == label)
    records = [reader.read(reader.image_keys[place]) for place in places[spread(len(places), IMAGES_SHOWN)]]
    name = names[label] if label < len(names) else None
    return ShownClass(label, name, len(places), [_thumbnail(record) for record in records])


def _thumbnail(record: Record) -> str:
    """The picture itself where it is a small JPEG, else a small one of it."""
    size = announced_size(record.payload, record.where)
    if is_jpeg(record.payload) and max(size) <= THUMBNAIL:
        return data_uri("jpeg", bytes(record.payload))
    small = Image.fromarray(decoded(record.payload, record.where))
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=90)
    return data_uri("jpeg", encoded.getvalue())


def _facts(seen: Inspection, num_bytes: int) -> dict[str, object]:
    """What the table of facts says, in its order."""
    counts = seen.images_per_class
    looked_at = sum(seen.sizes.values())
    sizes = sorted(seen.sizes.items(), key=lambda item: -item[1])
    return {
        "file": str(seen.path),
        "records": seen.num_records,
        "images": seen.num_images,
        "classes": "not stated" if seen.num_classes is None else seen.num_classes,
        "classes with images": len(counts),
        "images in each": f"{counts.min():,} to {counts.max():,}, median {np.median(counts):g}",
        "size": f"{num_bytes / 1e6:,.1f} MB, {seen.image_bytes / seen.num_images:,.0f} bytes an image",
        f"pixels (of {looked_at:,} looked at)": ", ".join(f"{w}x{h} ({n:,})" for (h, w), n in sizes[:4])
        + (f" and {len(sizes) - 4:,} other sizes" if len(sizes) > 4 else ""),
        "checksums": "train.crc" if seen.has_checks else "none (no train.crc)",
    }
