"""What a run notices of itself: losses that leap, ranks that are slow, replicas that differ."""

import time

import pytest
import torch

from recognition.data.loader import Loader
from recognition.data.sources import open_source
from recognition.errors import ReplicasDiffer
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.ranks import run_ranks
from tests.training.small_runs import small

SIZE = ("num_image=800", "num_classes=20")


def run(runtime, folder, faulty, *overrides):
    """Train with `faulty` as the training step; the message of the error that ends the run, if one does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "TrainStep", faulty)
        try:
            train(small(folder, *SIZE, *overrides), runtime)
        except ReplicasDiffer as error:
            return str(error)


class LossLeaps(assembly.TrainStep):
    def __call__(self, batches, *, step, **options):
        output = super().__call__(batches, step=step, **options)
        return type(output)(output.loss * 10, *list(vars(output).values())[1:]) if step == 25 else output


@pytest.mark.parametrize("world", [1, 2])
def test_a_loss_that_leaps_is_told_with_the_samples_of_all_ranks(tmp_path, world):
    run_ranks(run, world, tmp_path, LossLeaps, "max_steps=28", "frequent=10")
    (row,) = read_rows(tmp_path / "run", "spike")
    assert row["step"] == 26
    source = open_source("synthetic", num_classes=20, num_image=800, seed=2048, image_size=32)
    loader = Loader(source, batch_size=8 * world, runtime=Runtime(), seed=2048, num_steps=26, image_size=32)
    assert row["ids"] == list(loader)[25].ids_B.tolist()
    assert "step 26: loss" in (tmp_path / "run" / "training.log").read_text()


class SlowOnRank1(assembly.TrainStep):
    def embed(self, batch):
        if self.runtime.rank == 1:
            time.sleep(0.2)
        return super().embed(batch)


def test_a_rank_that_is_slow_is_named_in_metrics_and_log(tmp_path):
    run_ranks(run, 3, tmp_path, SlowOnRank1, "max_steps=20")
    rows = [row for row in read_rows(tmp_path / "run", "train") if "slowest_rank" in row]
    assert [row["step"] for row in rows] == [10, 19]  # nine steps each, the first of all left out
    for row in rows:
        assert row["slowest_rank"] == 1
        assert row["slowest_s"] >= 0.2
        assert row["compute_by_rank"][1] >= 0.2 > max(row["data_wait_by_rank"])
    assert "rank 1 is slow: 0.2" in (tmp_path / "run" / "training.log").read_text()


class UlpOnRank1(assembly.TrainStep):
    """After the third step one weight of rank 1 is the next float."""

    def __call__(self, batches, *, step, **options):
        output = super().__call__(batches, step=step, **options)
        if step == 2 and self.runtime.rank == 1:
            weight = self.backbone.layer1[0].conv1.weight.data
            weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))
        return output


@pytest.mark.parametrize(("overrides", "step"), [(("agreement_steps=5",), 5), (("checkpoint_steps=4",), 4)])
def test_a_weight_that_one_rank_has_otherwise_ends_the_run_at_the_next_check(tmp_path, overrides, step):
    messages = run_ranks(run, 3, tmp_path, UlpOnRank1, "max_steps=8", *overrides)
    for message in messages:
        assert message.startswith(f"step {step}: ")
        assert "backbone.layer1.0.conv1.weight" in message
        assert "rank 1 not as the majority of 3 ranks" in message
    assert not list((tmp_path / "run" / "checkpoints").glob("step-*"))
