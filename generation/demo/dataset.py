"""The list of samples that a LoRA run learns known people from, all that it names, and pictures that it never sees.

    python -m generation.demo.dataset OUT [--people 16] [--pictures 12] [--seed 0]

OUT/faces.jsonl, boxes.json, NAME/0.png, ...; and OUT/unseen/NAME/0.png, ..., to judge by.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import save_file

from generation.demo.people import SIDE, portraits, words_as_vectors
from recognition.atomic import write_text
from recognition.command import run_command
from recognition.errors import InputError
from recognition.faces.alignment import template_points
from recognition.grid import save_png

DOMAIN = 0x6C6F7261  # "lora"
UNSEEN = "unseen"
LIST, BOXES = "faces.jsonl", "boxes.json"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the list and its files")
    parser.add_argument("--people", type=int, default=16, help="default: 16")
    parser.add_argument("--pictures", type=int, default=12, help="of each person to learn from (default: 12)")
    parser.add_argument("--unseen", type=int, default=6, help="of each person to judge by (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="of the people (default: 0)")
    given = parser.parse_args()
    write_dataset(given.out, seed=given.seed, people=given.people, pictures=given.pictures, unseen=given.unseen)
    print(f"{given.out / LIST}: {given.people * given.pictures} pictures of {given.people} people")


def write_dataset(out: Path, *, seed: int, people: int, pictures: int, unseen: int) -> None:
    """Draw and write all that the module names; InputError for too few of anything."""
    if people < 2 or pictures < 2 or unseen < 1:
        raise InputError(
            f"people={people} and pictures={pictures} must be at least 2, for others to compare with and another "
            f"picture as reference; unseen={unseen} at least 1"
        )
    names = [f"person-{number:02d}" for number in range(people)]
    each = pictures + unseen
    faces = [(number, number * each + index) for number in range(people) for index in range(each)]
    rows, faces_known = [], {}
    # Aligned: the points lie on ArcFace's template, and the whole picture is the face.
    known = {"box": [0, 0, SIDE - 1, SIDE - 1], "points": template_points(SIDE).tolist()}
    for place, portrait in enumerate(portraits(faces, seed=seed, domain=DOMAIN, names=names)):
        number, index = divmod(place, each)
        if index >= pictures:
            save_png(out / UNSEEN / names[number] / f"{index - pictures}.png", portrait.pixels_HWC)
            continue
        image = f"{names[number]}/{index}.png"
        prompt = f"{names[number]}/{index}.safetensors"
        save_png(out / image, portrait.pixels_HWC)
        save_file(words_as_vectors(portrait.words), out / prompt)
        reference = f"{names[number]}/{(index + 1) % pictures}.png"
        rows.append({"image": image, "ref_image": reference, "prompt_embeds": prompt, "data_type": "person"})
        faces_known[image] = known
    # The first rows, of which a run shows pictures, are of different people.
    rows = [row for index in range(pictures) for row in rows[index::pictures]]
    write_text(out / BOXES, json.dumps(faces_known))
    write_text(out / LIST, "".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    run_command(main)
