"""launch/train.py to which faults happen.

    torchrun --nproc_per_node=2 tests/faults/worker.py CONFIG [key=value ...] [fault ...]

A word that begins with a kind of fault and a colon is a fault, see tests/faults/faults.py: kill:rank=1,step=4
"""

import sys

from launch import train
from recognition.command import run_command
from tests.faults.faults import KINDS, injected


def main(words: list[str]) -> None:
    """Run the command with those words that are no faults."""
    faults = [word for word in words if word.partition(":")[0] in KINDS]
    sys.argv = ["launch/train.py", *(word for word in words if word not in faults)]
    with injected(faults):
        run_command(train.main)


if __name__ == "__main__":
    main(sys.argv[1:])
