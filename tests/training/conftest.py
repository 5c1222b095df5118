"""One thread for the runs in module fixtures too, which begin before the fixtures of a test."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread_from_the_start():
    torch.set_num_threads(1)
