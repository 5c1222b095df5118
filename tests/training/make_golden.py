"""Write tests/training/golden/ anew, after a change that is meant to alter what training computes.

python -m tests.training.make_golden
"""

import tempfile
from pathlib import Path

import torch

from tests.training.golden_runs import NAMES, golden_run, write_golden


def main() -> None:
    """Run and write each."""
    torch.set_num_threads(1)
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            write_golden(name, golden_run(name, Path(folder) / "run").rows)


if __name__ == "__main__":
    main()
