"""Parse pictures: masks, colours over the pictures with a legend, and the share of each class."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from generation.parsing.opening import open_parser
from generation.parsing.overlay import overlaid, shares, with_legend
from generation.stargan.commands.edit import picture_paths
from recognition.atomic import write_text
from recognition.data.decode import upright_image
from recognition.data.sources.files import read_image_file
from recognition.errors import InputError
from recognition.grid import save_png
from recognition.heads.classes import NAMES
from recognition.log import LOG

MASKS, OVERLAYS, SHARES = "masks", "overlays", "shares.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The parser, the pictures, and where to write."""
    add = parser.add_argument
    add("model", type=Path, help="run of train, checkpoint, published weights (79999_iter.pth), or .onnx of export")
    add("pictures", type=Path, nargs="+", help="picture files, or folders of them")
    add("--out", type=Path, required=True, help=f"folder for {MASKS}/NAME.png, {OVERLAYS}/NAME.png and {SHARES}")
    add("--no-overlays", action="store_true", help="write masks alone, as launch/stargan.py --masks takes them")
    add("--device", default="cpu", help="cpu or cuda (default: cpu)")
    add("--threads", type=int, default=1, help="default: 1")


def run(given: argparse.Namespace) -> None:
    """Parse, write, and say how many; what cannot be read is told and left out, InputError where nothing can."""
    torch.set_num_threads(given.threads)
    parser = open_parser(given.model, given.device)
    paths = list(picture_paths(given.pictures))
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            raise InputError(
                f"{path}: its mask would have the name of that of {by_stem[path.stem]}; rename one of them"
            )
        by_stem[path.stem] = path
    found: dict[str, Any] = {}
    for path in tqdm(paths, desc="parsing", unit="picture", delay=2, leave=False, disable=None):
        try:
            image = upright_image(read_image_file(str(path)), lambda path=path: str(path))
        except InputError as error:
            LOG.warning("left out: %s", error)
            continue
        pixels_HWC = np.asarray(image)
        mask_HW = parser(pixels_HWC)
        found[path.name] = shares(mask_HW)
        save_png(given.out / MASKS / f"{path.stem}.png", mask_HW)
        if not given.no_overlays:
            there = [NAMES.index(name) for name in found[path.name]]
            save_png(given.out / OVERLAYS / f"{path.stem}.png", with_legend(overlaid(pixels_HWC, mask_HW), there))
    if not found:
        raise InputError(f"none of the {len(paths)} pictures could be read; see the lines above")
    content = {"model": parser.facts, "classes": list(NAMES), "shares": found}
    write_text(given.out / SHARES, json.dumps(content, indent=1, allow_nan=False) + "\n")
    print(f"parsed: {len(found)} of {len(paths)} pictures in {given.out}")
