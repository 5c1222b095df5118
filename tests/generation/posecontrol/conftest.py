"""One small set for all runs of these tests."""

import pytest

from tests.generation.posecontrol.small_set import write_set


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Drawn people in the four files."""
    return write_set(tmp_path_factory.mktemp("pose") / "data")
