"""A report of everything that there is, to look at: python -m tests.report.look FOLDER [--models 6] [--each 2]."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.report.writing import write_report
from tests.report.made_up import MODELS, made_up


def main() -> None:
    """Write a report to look at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--each", type=int, default=1)
    arguments = parser.parse_args()
    rows = [{"kind": "train", "step": n, "loss": 40 / (1 + n / 9), "lr": 0.1} for n in range(200)]
    scored = made_up(arguments.models, arguments.each)
    page = write_report(arguments.folder, scored, models=list(MODELS[: arguments.models]), training_rows=rows)
    print(page, f"{page.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
