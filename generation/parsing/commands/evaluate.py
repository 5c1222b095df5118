"""Judge a parser on pictures with masks: intersection over union of each class."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from generation.parsing.evaluation import figures
from generation.parsing.masks import TEST, open_masks
from generation.parsing.measures import counts
from generation.parsing.opening import open_parser
from generation.parsing.overlay import coloured, overlaid, with_legend
from generation.stargan.boards import sheet_of
from recognition.atomic import write_text
from recognition.errors import InputError
from recognition.grid import save_png
from recognition.heads.classes import NAMES
from recognition.strict_json import finite

MOST_SHOWN = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The parser, the pictures, and where the figures go."""
    add = parser.add_argument
    add("model", type=Path, help="run of train, checkpoint, published weights (79999_iter.pth), or .onnx of export")
    add("data", type=Path, help="folder with images/ and masks/, or CelebAMask-HQ's")
    add("--masks", type=Path, help="where the masks are (default: DATA/masks)")
    add("--test_size", type=int, metavar="N", help="only the last N pictures, which train keeps apart (default: as it)")
    add("--all", action="store_true", help="all pictures, those trained on included")
    add("--json", type=Path, metavar="FILE.json", help="write the figures")
    add("--sheet", type=Path, metavar="FILE.png", help="pictures, their masks, and what the parser found, side by side")
    add("--device", default="cpu", help="cpu or cuda (default: cpu)")
    add("--threads", type=int, default=1, help="default: 1")


def run(given: argparse.Namespace) -> None:
    """Judge, and print a table."""
    torch.set_num_threads(given.threads)
    parser = open_parser(given.model, given.device)
    pictures = open_masks(given.data, parser.facts["image_size"], masks=given.masks, cache_mb=0)
    pictures = pictures if given.all else pictures.split(TEST, given.test_size)
    if not len(pictures):
        raise InputError(f"{given.data} has too few pictures for some to be kept apart; give --all or --test_size")
    total_CC = np.zeros((len(NAMES), len(NAMES)), np.int64)
    shown: list[list[np.ndarray]] = []
    for index in range(len(pictures)):
        pixels_HWC, mask_HW = pictures.read(index)
        found_HW = parser(pixels_HWC)
        total_CC += counts(mask_HW, found_HW, len(NAMES))
        if len(shown) < MOST_SHOWN:
            shown.append([pixels_HWC, coloured(mask_HW), coloured(found_HW), overlaid(pixels_HWC, found_HW)])
    found = {"pictures": len(pictures), **figures(total_CC), "model": parser.facts}
    for name, iou in found["iou"].items():
        if iou is not None:
            print(f"{name:<12}{iou:8.4f}")
    print(f"mIoU {found['miou']:.4f} over the classes that occur, {found['accuracy']:.2%} of the pixels right, "
          f"{len(pictures)} pictures")  # fmt: skip
    if given.sheet is not None:
        there = np.flatnonzero(total_CC.sum(1)).tolist()
        save_png(given.sheet, with_legend(sheet_of(shown), there))
    if given.json is not None:
        write_text(given.json, json.dumps(finite(found), indent=1, allow_nan=False) + "\n")
