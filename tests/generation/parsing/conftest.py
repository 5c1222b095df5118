import pytest

from tests.generation.parsing.small_faces import run, write_faces


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("parsing") / "faces")


@pytest.fixture(scope="session")
def trained(faces, tmp_path_factory):
    """A parser that knows skin, hair and what is neither."""
    options = {"steps": 60, "eval_every": 60, "plain": True, "optimizer": "adamw", "lr": 1e-2, "head_lr_factor": 1.0}
    return run(faces, tmp_path_factory.mktemp("trained"), enlarge=2, width=8, **options)
