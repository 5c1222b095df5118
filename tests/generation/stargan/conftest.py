import pytest

from tests.generation.stargan.small_gan import write_celeba


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return write_celeba(tmp_path_factory.mktemp("gan") / "celeba")
