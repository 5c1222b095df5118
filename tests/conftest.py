"""Where the fixtures live, and one thread per test so that ranks and tests do not fight over cores."""

import gc
import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
FIXTURES = ROOT / "tests" / "fixtures"

# What earlier tests left behind (sessions, pipelines) has threads that a forked process has not: it must not be
# collected there, since a destructor that waits for them waits for ever.
os.register_at_fork(after_in_child=gc.freeze)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of reference data beside the checkout; tests that need it skip where it is absent."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("no ../shared folder beside this checkout: its reference data is not here")
    return path


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
