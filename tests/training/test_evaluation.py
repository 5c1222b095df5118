"""The sets that a run verifies on: a damaged picture is found before the run begins, each rank looks at a share."""

import time

import numpy as np
import pytest
import torch

from recognition.collectives import all_gather
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.evaluation import decode_once, open_targets
from recognition.verification.pairs import Pairs, open_pair_file, write_pairs
from tests.pictures import jpeg
from tests.ranks import run_ranks
from tests.training.small_runs import small


class Noting:
    """Pictures that remember which were asked for, and take their time over each."""

    def __init__(self, count: int, seconds: float = 0.0) -> None:
        self.count, self.seconds, self.asked = count, seconds, []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        time.sleep(self.seconds)
        self.asked.append(index)
        return np.zeros((4, 4, 3), np.uint8)


def share_of_rank(runtime):
    pictures = Noting(12)
    decode_once("set", Pairs(pictures, np.ones(6, bool)), runtime)
    return sorted(pictures.asked)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_picture_is_looked_at_by_one_rank(world):
    shares = run_ranks(share_of_rank, world)
    assert [len(share) for share in shares] == [12 // world] * world
    assert sorted(index for share in shares for index in share) == list(range(12))


def slow_on_the_last(runtime):
    """The last rank takes four timeouts over its share; what comes next is a collective."""
    pictures = Noting(2, seconds=4.0 if runtime.rank == runtime.world - 1 else 0.0)
    decode_once("set", Pairs(pictures, np.ones(1, bool)), runtime)
    return all_gather(torch.ones(1, 1), runtime, what="ones").sum().item()


def test_ranks_wait_for_the_one_that_takes_longer_than_a_collective_does():
    assert run_ranks(slow_on_the_last, 2, collective_timeout_s=1.0) == [2, 2]


@pytest.fixture
def torn(tmp_path):
    images = [jpeg(index, 32) for index in range(40)]
    images[21] = images[21][:-30]
    write_pairs(tmp_path / "torn.bin", images, [index % 2 == 0 for index in range(20)])
    return tmp_path


def opened_on_rank(runtime, folder):
    open_targets(small(folder, "val_targets=torn", f"val_dir={folder}"), runtime)


@pytest.mark.parametrize("world", [1, 2])
def test_a_damaged_picture_is_named_before_the_run_begins(torn, world):
    assert len(open_pair_file(torn / "torn.bin")) == 20  # its header is sound: only decoding shows it
    with pytest.raises(InputError, match=r"torn.bin: image 21 \(pair 10, second picture\): not a readable JPEG"):
        run_ranks(opened_on_rank, world, torn)


def test_a_set_keeps_its_pictures_encoded_during_the_run(torn):
    images = [jpeg(index, 32) for index in range(40)]
    write_pairs(torn / "good.bin", images, [index % 2 == 0 for index in range(20)])
    targets = open_targets(small(torn, "val_targets=good", f"val_dir={torn}"), Runtime())
    assert targets["good"].pairs.images.payloads == images
