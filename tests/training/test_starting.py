"""Runs that start from another model: which weights and which class centres they get, and what is refused."""

import csv

import numpy as np
import pytest
import torch

from recognition.backbones import build_backbone
from recognition.errors import InputError
from recognition.head import CombinedMarginLoss, PartialFC
from recognition.head.initial import initial_rows
from recognition.runtime import Runtime
from recognition.training.class_map import old_labels
from recognition.training.optimizer import build_row_optimizer
from recognition.training.starting import start_from
from recognition.weights import save_backbone
from tests.checkpoint.arcface_torch_run import SIZE, ArcfaceTorchRun, D
from tests.ranks import run_ranks
from tests.training.linear_backbone import config

OLD = 10


@pytest.fixture(scope="module")
def run():
    return ArcfaceTorchRun(3, num_classes=OLD).train()


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return run.save(tmp_path_factory.mktemp("theirs"))


def run_config(init, **changes):
    sizes = {"network": "r_tiny", "embedding_size": D, "image_size": SIZE, "num_classes": OLD}
    return config(init=None if init is None else str(init), **(sizes | changes))


def started(cfg, runtime=Runtime(), subcenters=None):  # noqa: B008
    """Backbone state, rows (K, c, P, D) of the head, and the lines logged, of a run that starts as `cfg` says."""
    torch.manual_seed(1)
    backbone = build_backbone(cfg.network, cfg.embedding_size, image_size=cfg.image_size)
    margin = CombinedMarginLoss(16.0, 1.0, 0.3, 0.1)
    if subcenters:
        margin.subcenters = subcenters
    optimizer = build_row_optimizer(cfg)
    options = {"seed": cfg.seed, "optimizer": optimizer, "centers": cfg.centers}
    head = PartialFC(margin, cfg.embedding_size, cfg.num_classes, cfg.sample_rate, runtime=runtime, **options)
    lines = []
    start_from(cfg, backbone, head, runtime, lines.append)
    head.flush()
    rows = head.centers.table_KCPD[: head.num_local].clone()
    return {key: tensor.clone() for key, tensor in backbone.state_dict().items()}, rows, lines


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def write_map(path, pairs, header=("label", "old_label")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *pairs])
    return str(path)


# ---- The backbone ----------------------------------------------------------------------------------------------------


def test_a_run_without_init_stays_as_it_is():
    state, _, lines = started(run_config(None))
    torch.manual_seed(1)
    assert_same(state, build_backbone("r_tiny", D, image_size=SIZE).state_dict())
    assert lines == []


@pytest.mark.parametrize("name", ["a.safetensors", "backbone.pth", "model.pt"])
def test_the_backbone_of_a_file_is_taken(run, tmp_path, name):
    backbone = run.ranks[1].backbone
    meta = {"network": "r_tiny", "embedding_size": D, "image_size": SIZE}
    save_backbone(tmp_path / name, backbone, meta)
    state, _, (line,) = started(run_config(tmp_path / name))
    assert_same(state, backbone.state_dict())
    assert line == f"init: backbone of {tmp_path / name}; all 10 class centres start fresh"


def test_the_backbone_of_a_run_directory_is_taken(run, tmp_path):
    meta = {"network": "r_tiny", "embedding_size": D, "image_size": SIZE}
    save_backbone(tmp_path / "model.safetensors", run.ranks[1].backbone, meta)
    (tmp_path / "config.json").write_text("{}")
    state, _, (line,) = started(run_config(tmp_path))
    assert_same(state, run.ranks[1].backbone.state_dict())
    assert str(tmp_path / "model.safetensors") in line


def test_the_backbone_of_a_set_is_rank_0s_whatever_lies_beside_it(run, folder, tmp_path):
    other = ArcfaceTorchRun(1, seed=9).save(tmp_path)
    save_backbone(tmp_path / "model.pt", run.ranks[1].backbone, {})
    expected = torch.load(other / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_backbone"]
    assert_same(started(run_config(tmp_path))[0], expected)
    assert_same(started(run_config(folder))[0], run.ranks[0].backbone.state_dict())


def test_weights_go_into_the_parameters_that_are_there(run, folder):
    backbone = build_backbone("r_tiny", D, image_size=SIZE)
    before = [(parameter, parameter.requires_grad) for parameter in backbone.parameters()]
    start_from(run_config(folder), backbone, None, Runtime(), print)
    assert all(a is b and b.requires_grad == needs for a, (b, needs) in zip(backbone.parameters(), before))
    assert backbone.training


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding_size": 16}, "embedding_size=32, but the run has embedding_size=16; set embedding_size=32"),
        ({"image_size": 64}, "image_size=32, but the run has image_size=64"),
        ({"network": "mbf_tiny"}, "does not fit network 'mbf_tiny'.*missing"),
    ],
)
def test_a_backbone_of_other_sizes_is_refused(run, tmp_path, changes, words):
    meta = {"network": "r_tiny", "embedding_size": D, "image_size": SIZE}
    save_backbone(tmp_path / "a.safetensors", run.ranks[0].backbone, meta)
    with pytest.raises(InputError, match=words):
        started(run_config(tmp_path / "a.safetensors", **changes))


def test_sizes_are_refused_without_metadata_too(run, tmp_path):
    save_backbone(tmp_path / "backbone.pth", run.ranks[0].backbone, {})
    with pytest.raises(InputError, match="embedding_size=32, but the run has embedding_size=16"):
        started(run_config(tmp_path / "backbone.pth", embedding_size=16))
    with pytest.raises(InputError, match=r"fc.weight is \(32, 256\) and should be \(32, 1024\)"):
        started(run_config(tmp_path / "backbone.pth", image_size=64))


def test_a_place_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="init=.*nowhere does not exist"):
        started(run_config(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="holds no model"):
        started(run_config(tmp_path))


# ---- Class centres ---------------------------------------------------------------------------------------------------

PAIRS = [(0, 9), (6, 2), (12, 5), (3, 0), (7, 3), (11, 8)]


def fresh(num_classes, seed):
    return initial_rows(torch.arange(num_classes), D, seed=seed)


def rows_of_a_rank(runtime, init, class_map, centers, optimizer):
    cfg = run_config(init, class_map=class_map, num_classes=13, centers=centers, optimizer=optimizer, sample_rate=0.5)
    _, rows, lines = started(cfg, runtime)
    return rows, lines


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("centers", ["memory", "mmap"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_persisting_identities_keep_their_centres_and_the_others_start_fresh(
    run, folder, tmp_path, world, centers, optimizer
):
    class_map = write_map(tmp_path / "map.csv", PAIRS)
    place = "memory" if centers == "memory" else f"mmap:{tmp_path / 'centers'}"
    results = run_ranks(rows_of_a_rank, world, folder, class_map, place, optimizer)
    rows_CP = torch.cat([rows for rows, _ in results])[:, 0]
    expected = fresh(13, config().seed)
    for label, old in PAIRS:
        expected[label] = run.centers[old]
    assert torch.equal(rows_CP[:, 0], expected)
    assert not rows_CP[:, 1:].any()
    assert rows_CP.shape[1] == (2 if optimizer == "sgd" else 3)
    (line,) = results[0][1]
    assert line.endswith(f"class centres of 6 identities persist, 7 start fresh (class_map={class_map})")
    assert all(lines == [] for _, lines in results[1:])


@pytest.mark.parametrize(("num_classes", "persisting"), [(10, 10), (13, 10), (4, 4)])
def test_the_same_labels_persist_as_far_as_both_have_them(run, folder, num_classes, persisting):
    cfg = run_config(folder, class_map="same", num_classes=num_classes)
    _, rows, (line,) = started(cfg)
    expected = fresh(num_classes, cfg.seed)
    expected[:persisting] = run.centers[:persisting]
    assert torch.equal(rows[:, 0, 0], expected)
    assert f"of {persisting} identities persist, {num_classes - persisting} start fresh" in line


def test_without_a_class_map_all_centres_start_fresh(folder):
    cfg = run_config(folder)
    assert torch.equal(started(cfg)[1][:, 0, 0], fresh(OLD, cfg.seed))


def test_more_classes_than_are_read_at_a_time_persist(tmp_path, monkeypatch):
    monkeypatch.setattr("recognition.training.starting._BLOCK_CLASSES", 3)
    theirs = ArcfaceTorchRun(2, num_classes=25)
    cfg = run_config(theirs.save(tmp_path), class_map="same", num_classes=25)
    assert torch.equal(started(cfg)[1][:, 0, 0], theirs.centers)


def test_a_backbone_alone_has_no_class_centres(run, tmp_path):
    save_backbone(tmp_path / "model.pt", run.ranks[0].backbone, {})
    with pytest.raises(InputError, match="model.pt is a backbone without class centres"):
        started(run_config(tmp_path / "model.pt", class_map="same"))
    with pytest.raises(InputError, match="holds no class centres"):
        started(run_config(tmp_path, class_map="same"))


def test_centres_for_another_number_a_class_are_refused(folder):
    with pytest.raises(InputError, match="sub_centers=1, those of the run 3"):
        started(run_config(folder, class_map="same"), subcenters=3)


# ---- The map ---------------------------------------------------------------------------------------------------------


def test_a_map_is_the_dictionary_that_its_lines_spell(tmp_path):
    generator = np.random.default_rng(0)
    labels, olds = generator.permutation(500)[:300], generator.permutation(700)[:300]
    rows = [(name, old, label) for name, (label, old) in enumerate(zip(labels, olds))]
    path = write_map(tmp_path / "map.csv", rows, header=("name", "old_label", "label"))
    table = dict(zip(labels.tolist(), olds.tolist()))
    found = old_labels(path, num_classes=500, num_old=700)
    assert found.tolist() == [table.get(label, -1) for label in range(500)]


def test_spaces_empty_lines_and_a_byte_order_mark_do_no_harm(tmp_path):
    (tmp_path / "map.csv").write_text("\ufefflabel, old_label\r\n1 , 2\r\n\r\n0,1\r\n", encoding="utf-8")
    assert old_labels(tmp_path / "map.csv", num_classes=3, num_old=3).tolist() == [1, 2, -1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: expected a header"),
        ("0,1\n", "line 1: expected a header with label and old_label, found '0,1'"),
        ("label,old_label\n0,1\n1\n", "line 3: 1 columns of 2"),
        ("label,old_label\n0,x\n", "line 2: old_label 'x' is no whole number"),
        ("label,old_label\n0,1.0\n", "line 2: old_label '1.0' is no whole number"),
        ("label,old_label\n,1\n", "line 2: label '' is no whole number"),
        ("label,old_label\n0,1\n\n10,2\n", "line 4: label 10 is out of range: this training set has 10"),
        ("label,old_label\n-1,2\n", "line 2: label -1 is out of range"),
        ("label,old_label\n0,20\n", "line 2: old_label 20 is out of range: the model that init names has 20"),
        ("label,old_label\n0,99999999999999999999\n", "line 2: old_label '9*' is no whole number"),
        ("label,old_label\n4,1\n5,2\n4,3\n", "line 4: label 4 was there in line 2"),
        ("label,old_label\n4,1\n5,1\n", "line 3: old_label 1 was there in line 2"),
    ],
)
def test_a_line_that_says_nothing_sound_is_refused_by_its_number(tmp_path, text, words):
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"{path}, {words}"):
        old_labels(path, num_classes=10, num_old=20)


def test_a_map_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="class_map=.*none.csv does not exist"):
        old_labels(tmp_path / "none.csv", num_classes=3, num_old=3)
    (tmp_path / "map.csv").write_bytes(b"label,old_label\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="not a readable CSV"):
        old_labels(tmp_path / "map.csv", num_classes=3, num_old=3)
