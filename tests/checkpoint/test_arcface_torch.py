"""Sets of checkpoint_gpu_{rank}.pt, of any number of ranks for any other, and what is refused of them."""

import shutil

import numpy as np
import pytest
import torch

from recognition.checkpoint.arcface_torch import open_arcface_torch
from recognition.errors import InputError
from recognition.head.rows import RowAdamW, RowSGD
from recognition.runtime import Runtime
from tests.checkpoint.arcface_torch_run import ArcfaceTorchRun, edited

SLOTS = {"sgd": ["momentum_buffer"], "adamw": ["exp_avg", "exp_avg_sq"]}


@pytest.fixture(scope="module", params=[(1, "sgd"), (2, "sgd"), (3, "sgd"), (3, "adamw")], ids=str)
def run_and_folder(request, tmp_path_factory):
    world, optimizer = request.param
    run = ArcfaceTorchRun(world, optimizer=optimizer).train()
    return run, run.save(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return ArcfaceTorchRun(3).train().save(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def folder(sound, tmp_path):
    """A set of three ranks and 10 classes to spoil."""
    return shutil.copytree(sound, tmp_path / "set")


def shares(num_classes, world):
    return np.array_split(np.arange(num_classes), world)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_rows_for_any_number_of_ranks_are_those_of_the_run(run_and_folder, world):
    run, folder = run_and_folder
    found = open_arcface_torch(folder, num_classes=10)
    pieces = [found.rows(share[0], share[-1] + 1) for share in shares(10, world)]
    assert [len(piece) for piece in pieces] == [len(share) for share in shares(10, world)]
    expected = torch.stack([run.centers, *(run.remembered(key) for key in SLOTS[run.optimizer])], 1)
    rows_C1PD = torch.cat(pieces)
    assert rows_C1PD.dtype == torch.float32
    assert torch.equal(rows_C1PD[:, 0], expected)


def test_every_range_of_classes_is_that_of_all_rows(run_and_folder):
    run, folder = run_and_folder
    found = open_arcface_torch(folder)
    for start in range(11):
        for stop in range(start, 11):
            assert torch.equal(found.rows(start, stop)[:, 0, 0], run.centers[start:stop])
    for start, stop in ((-1, 3), (3, 11), (5, 4)):
        with pytest.raises(IndexError, match="of 10"):
            found.rows(start, stop)


def test_single_classes_come_in_the_order_that_they_are_asked_for(run_and_folder):
    run, folder = run_and_folder
    classes = np.array([9, 0, 4, 4, 7, 3])
    found = open_arcface_torch(folder).centers_of(classes)
    assert torch.equal(found, torch.stack([run.centers[number] for number in classes])[:, None])


def test_the_numbers_of_the_run_are_found(run_and_folder):
    run, folder = run_and_folder
    found = open_arcface_torch(folder)
    assert (found.epoch, found.global_step, found.optimizer) == (1, 2, run.optimizer)
    assert (found.num_classes, found.embedding_size) == (10, 32)
    assert found.touches(2, 9).tolist() == [2 if run.optimizer == "adamw" else 0] * 7


def test_the_backbone_is_rank_0s_with_the_statistics_of_every_rank(run_and_folder):
    run, folder = run_and_folder
    found = open_arcface_torch(folder)
    expected = run.ranks[0].backbone.state_dict()
    assert list(found.backbone) == list(expected)
    assert all(torch.equal(found.backbone[key], tensor) for key, tensor in expected.items())
    assert len(found.buffers_by_rank) == run.world
    for buffers, rank in zip(found.buffers_by_rank, run.ranks):
        own = dict(rank.backbone.named_buffers())
        assert buffers.keys() == own.keys()
        assert all(torch.equal(buffers[key], tensor) for key, tensor in own.items())


def test_optimizer_state_of_the_backbone_comes_under_the_names_of_its_parameters(run_and_folder):
    run, folder = run_and_folder
    slots = open_arcface_torch(folder).backbone_slots()
    rank = run.ranks[0]
    trained = {name for name, p in rank.backbone.named_parameters() if p.requires_grad}
    assert slots.keys() == trained
    assert "features.weight" not in trained  # it is among the optimizer's parameters there, without a state
    for name, parameter in rank.backbone.named_parameters():
        if name in trained:
            expected = rank.optimizer.state[parameter]
            assert slots[name].keys() == expected.keys()
            assert all(torch.equal(slots[name][key], tensor) for key, tensor in expected.items())


def test_a_step_from_the_rows_read_is_the_step_that_the_run_takes_next(tmp_path):
    for optimizer, rows in (("sgd", RowSGD(0.9, 5e-4)), ("adamw", RowAdamW(weight_decay=0.1))):
        run = ArcfaceTorchRun(2, optimizer=optimizer).train()
        found = open_arcface_torch(run.save(tmp_path / optimizer))
        rows_CPD, touched = found.rows(0, 10)[:, 0], found.touches(0, 10)
        grad_CD = torch.randn(10, 32)
        for rank, grad in zip(run.ranks, grad_CD.split([5, 5])):
            rank.partial_fc.weight.grad = grad.clone()
            rank.optimizer.step()
        given = grad_CD + rows.gradient_decay * rows_CPD[:, 0]
        rows.update_(rows_CPD, given, run.ranks[0].optimizer.param_groups[1]["lr"], touched)
        torch.testing.assert_close(rows_CPD[:, 0], run.centers, rtol=1e-6, atol=1e-7)


def test_a_run_that_took_no_step_has_zero_momentum(tmp_path):
    run = ArcfaceTorchRun(2)
    found = open_arcface_torch(run.save(tmp_path))
    assert torch.equal(found.rows(0, 10)[:, 0, 0], run.centers)
    assert not found.rows(0, 10)[:, 0, 1].any()
    assert found.backbone_slots() == {}


def test_fewer_classes_than_ranks_leave_empty_shards(tmp_path):
    run = ArcfaceTorchRun(4, num_classes=3).train(1)
    assert torch.equal(open_arcface_torch(run.save(tmp_path), num_classes=3).rows(0, 3)[:, 0, 0], run.centers)


# ---- What is refused -------------------------------------------------------------------------------------------------


def assert_refused(folder, *words, num_classes=None, runtime=Runtime()):  # noqa: B008
    with pytest.raises(InputError) as caught:
        open_arcface_torch(folder, num_classes=num_classes, runtime=runtime)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_folder_without_such_files_is_refused(tmp_path):
    (tmp_path / "checkpoint_gpu_01.pt").touch()
    assert_refused(tmp_path, str(tmp_path), "no checkpoint_gpu_N.pt")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_missing_rank_is_named(folder, rank):
    (folder / f"checkpoint_gpu_{rank}.pt").unlink()
    assert_refused(folder, f": checkpoint_gpu_{rank}.pt;", "1 files are missing", "goes up to checkpoint_gpu_2.pt")


def test_a_rank_number_beyond_reason_lists_a_few(folder):
    shutil.copy(folder / "checkpoint_gpu_0.pt", folder / "checkpoint_gpu_9999999999.pt")
    assert_refused(folder, "9999999996 files are missing", "checkpoint_gpu_3.pt", "...")


def test_a_missing_last_rank_shows_in_the_number_of_classes(folder):
    (folder / "checkpoint_gpu_2.pt").unlink()
    assert_refused(folder, "num_classes=10", "2 files hold 7 classes (4, 3)", "missing", num_classes=10)


def test_surplus_ranks_of_an_older_run_are_named(tmp_path):
    folder = ArcfaceTorchRun(3).train().save(tmp_path)
    ArcfaceTorchRun(2).train().save(tmp_path)  # over the first two files
    assert_refused(folder, "5, 5, 3", "first 2 hold all 10", "checkpoint_gpu_2.pt are surplus", num_classes=10)
    assert_refused(folder, "5, 5, 3 classes, 13 in all", "3 ranks have 5, 4, 4")


def test_a_total_other_than_the_data_sets_is_refused(folder):
    assert_refused(folder, "num_classes=12", "hold 10 classes (4, 3, 3)", num_classes=12)


def test_shards_that_no_number_of_classes_gives_are_refused(folder):
    def shorten(content):
        content["state_dict_softmax_fc"]["weight"] = content["state_dict_softmax_fc"]["weight"][:2]

    edited(folder, 0, shorten)
    assert_refused(folder, "hold 2, 3, 3 classes, 8 in all", "3 ranks have 3, 3, 2")


@pytest.mark.parametrize("key", ["epoch", "global_step"])
def test_files_of_different_moments_are_refused(folder, key):
    edited(folder, 2, lambda content: content.update({key: 7}))
    assert_refused(folder, "checkpoint_gpu_2.pt is of step", "7", "checkpoint_gpu_0.pt of step 2 (epoch 1)")


def test_backbones_that_drifted_apart_are_refused(folder):
    def nudge(content):
        weight = content["state_dict_backbone"]["layer2.0.conv1.weight"].view(-1)
        weight[5] = torch.nextafter(weight[5], torch.tensor(9.0))

    edited(folder, 2, nudge)
    assert_refused(folder, "checkpoint_gpu_2.pt", "layer2.0.conv1.weight", "drifted", "init=")


def test_our_ranks_share_the_comparison_and_together_compare_all(folder):
    edited(folder, 2, lambda content: content["state_dict_backbone"]["fc.bias"].add_(1))
    open_arcface_torch(folder, runtime=Runtime(rank=0, world=2))
    assert_refused(folder, "fc.bias", runtime=Runtime(rank=1, world=2))


def test_backbones_of_different_networks_are_refused(folder):
    def rename(content):
        state = content["state_dict_backbone"]
        state["conv9.weight"] = state.pop("conv1.weight")

    edited(folder, 1, rename)
    assert_refused(folder, "checkpoint_gpu_1.pt", "different networks")


def test_centres_of_another_embedding_size_are_refused(folder):
    def widen(content):
        content["state_dict_softmax_fc"]["weight"] = torch.zeros(3, 64)

    edited(folder, 1, widen)
    assert_refused(folder, "checkpoint_gpu_1.pt", "64 numbers", "of 32")


def test_ranks_with_different_optimizers_are_refused(tmp_path):
    folder = ArcfaceTorchRun(2).train().save(tmp_path)
    ArcfaceTorchRun(2, optimizer="adamw").train().save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "checkpoint_gpu_1.pt", folder)
    assert_refused(folder, "checkpoint_gpu_1.pt was trained by adamw", "sgd")


def test_momentum_of_another_shape_is_refused_only_when_it_is_wanted(folder):
    def shorten(content):
        memory = content["state_optimizer"]["state"]
        memory[max(memory)]["momentum_buffer"] = torch.zeros(2, 32)

    edited(folder, 1, shorten)
    found = open_arcface_torch(folder)
    assert len(found.centers_of(np.arange(10))) == 10
    with pytest.raises(InputError, match=r"checkpoint_gpu_1.pt: class centres: momentum_buffer.*\(3, 32\)"):
        found.rows(0, 10)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("global_step"),
        lambda content: content.pop("state_dict_softmax_fc"),
        lambda content: content["state_dict_softmax_fc"].update(weight=3),
        lambda content: content["state_dict_softmax_fc"].update(weight=torch.zeros(3)),
        lambda content: content["state_dict_backbone"].update({"a": 1}),
        lambda content: content.update(state_optimizer=[]),
        lambda content: content["state_optimizer"].update(state=[]),
        lambda content: content["state_optimizer"]["state"].update({0: 3}),
        lambda content: content["state_optimizer"]["param_groups"].pop(),
        lambda content: content["state_optimizer"]["param_groups"][1].update(params=[]),
        lambda content: content.update(epoch="first"),
    ],
)
def test_files_of_another_kind_are_refused_by_name(folder, change):
    edited(folder, 1, change)
    assert_refused(folder, "checkpoint_gpu_1.pt is not one of arcface_torch's checkpoints")


def test_an_optimizer_over_other_parameters_is_refused(folder):
    edited(folder, 1, lambda content: content["state_optimizer"]["param_groups"][0]["params"].pop())
    assert_refused(folder, "checkpoint_gpu_1.pt: its optimizer has", "parameters of the backbone")


def test_a_truncated_file_is_refused_by_name(folder):
    path = folder / "checkpoint_gpu_1.pt"
    path.write_bytes(path.read_bytes()[:-1000])
    assert_refused(folder, "checkpoint_gpu_1.pt is not a readable PyTorch file")


class Payload:
    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return (open, (str(self.sentinel), "w"))


def test_a_file_that_brings_code_is_refused_and_runs_none(folder, tmp_path):
    sentinel = tmp_path / "sentinel"
    torch.save({"epoch": Payload(sentinel)}, folder / "checkpoint_gpu_1.pt")
    assert_refused(folder, "checkpoint_gpu_1.pt", "nothing was executed")
    assert not sentinel.exists()
