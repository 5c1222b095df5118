"""A sheet of heads, each in several poses, to look at.

python -m recognition.heads.contact OUT.png [--people 6] [--seed 0] [--size 96]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from recognition.command import run_command
from recognition.grid import grid, save_png
from recognition.heads import draw_person, draw_scene, render

POSES_DEG = ((0, 0, 0), (0, -35, 0), (0, 35, 0), (0, -65, 0), (0, 90, 0), (25, 15, 0), (-20, -15, 0), (5, 20, 25))


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.png")
    parser.add_argument("--people", type=int, default=6, help="rows (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="of the people (default: 0)")
    parser.add_argument("--size", type=int, default=96, help="pixels of a picture (default: 96)")
    given = parser.parse_args()
    save_png(given.out, sheet(given.seed, range(given.people), given.size))


def sheet(seed: int, people: range, size: int) -> np.ndarray:
    """A row for each person, a column for each pose, uint8 (H, W, 3), white between them."""
    rows = []
    for number in people:
        person = draw_person(seed, number)
        row = []
        for place, pose_deg in enumerate(POSES_DEG):
            scene = draw_scene(seed, number * len(POSES_DEG) + place)
            scene = replace(scene, pose_deg=pose_deg, body_yaw_deg=0.4 * pose_deg[1], backdrop=scene.backdrop[:1])
            row.append(render(person, replace(scene, blur=0.0, noise_levels=0.0), size).pixels_HWC)
        rows.append(row)
    return grid(rows)


if __name__ == "__main__":
    run_command(main)
