"""Draw faces of people who do not exist, and their masks."""

from __future__ import annotations

import argparse

from generation.stargan.commands import draw as draw_attributes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of launch/edits.py draw, which makes the same set; masks are always written."""
    draw_attributes.add_arguments(parser)


def run(given: argparse.Namespace) -> None:
    """Draw, and say what there is."""
    given.masks = True
    draw_attributes.run(given)
