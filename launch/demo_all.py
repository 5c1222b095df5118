"""All demonstrations and one page that links them: recognition, LoRA, ImageControlNet, StarGAN.

    python launch/demo_all.py [--out demo] [--again] [--only pose editing]

Those that have run already are not run again; each takes up to ten minutes on two CPU cores. The page shows the figures
of all of them beside the least that they should be; exit code 1 where one is below.
"""

import argparse
import sys
import time
from pathlib import Path

from generation.demo.demonstrations import DEMONSTRATIONS
from generation.demo.summary import is_done, write_summary
from recognition.command import run_command
from recognition.demonstration import command
from recognition.training.run_directory import set_aside


def main() -> None:
    """Run what has not run, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [each.name for each in DEMONSTRATIONS]
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for all of them (default: demo)")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--again", action="store_true", help="run them though they have run; the old are set aside")
    given = parser.parse_args()
    chosen = [each for each in DEMONSTRATIONS if given.only is None or each.name in given.only]
    seconds = {}
    for each in chosen:
        if is_done(each, given.out) and not given.again:
            print(f"{each.name}: has run, {given.out / each.folder} (--again runs it anew)", flush=True)
            continue
        if (given.out / each.folder).exists():
            print(f"{each.name}: an earlier one is now {set_aside(given.out / each.folder)}", flush=True)
        started = time.perf_counter()
        command(each.script, "--out", given.out / each.folder)
        seconds[each.name] = time.perf_counter() - started
    shown = [each for each in DEMONSTRATIONS if each in chosen or is_done(each, given.out)]
    page, low = write_summary(given.out, shown, seconds)
    print(f"\nall demonstrations: {page}")
    for line in low:
        print(f"too low: {line}")
    if low:
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
