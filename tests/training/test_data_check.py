"""The look at a training set before a run, on several ranks: what the main rank finds, all learn."""

import pytest

from recognition.data.label_noise import NoisySource, parse_noise
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.data_check import check_data
from recognition.training.loop import train
from tests.data.test_preflight import Labelled
from tests.pictures import write_people
from tests.ranks import run_ranks
from tests.training.linear_backbone import config
from tests.training.small_runs import small


def outcome(runtime, source_of, sha256_of):
    """Facts and remarks, or the error, on this rank."""
    cfg = config(rec="/data/set", image_size=16)
    try:
        found = check_data(source_of(runtime.rank), cfg, runtime, sha256_of(runtime.rank))
        return found.facts, found.remarks
    except InputError as error:
        return str(error)


def same(rank):
    return "c0ffee"


@pytest.mark.parametrize("world", [1, 2, 3])
def test_all_ranks_learn_what_the_main_rank_found(world):
    def source_of(rank):
        # Only the main rank is to look: what another would find is no matter.
        return Labelled([0, 1, 1], num_classes=3, bad=() if rank == 0 else {0, 1, 2})

    outcomes = run_ranks(outcome, world, source_of, same)
    assert outcomes == [outcomes[0]] * world
    facts, remarks = outcomes[0]
    assert facts["classes without images"] == 1
    assert remarks == ["1 of 3 classes have no image: 2; their centres are trained as wrong answers only"]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_all_ranks_end_with_what_the_main_rank_refuses(world):
    outcomes = run_ranks(outcome, world, lambda rank: Labelled([0, 1, 1], num_classes=2, bad={1}), same)
    assert outcomes == ["picture 1: torn; tape it; on_bad_record=skip trains without such images"] * world


@pytest.mark.parametrize(
    ("source_of", "sha256_of"),
    [
        (lambda rank: Labelled([0, 1] * (2 - rank % 2), num_classes=2), same),
        (lambda rank: Labelled([0, 1], num_classes=2 + rank % 2), same),
        (lambda rank: Labelled([0, 1], num_classes=2), lambda rank: "c0ffee" if rank != 1 else "decaf"),
    ],
    ids=["images", "classes", "bytes"],
)
def test_ranks_that_see_another_set_are_named(source_of, sha256_of):
    outcomes = run_ranks(outcome, 3, source_of, sha256_of)
    expected = "/data/set is not the same set on all ranks: rank 1 of 3 see other files than rank 0; copy one set to"
    assert all(text.startswith(expected) for text in outcomes)


def test_a_rank_that_has_no_hash_is_believed():
    source = Labelled([0, 1], num_classes=2)
    outcomes = run_ranks(outcome, 2, lambda rank: source, lambda rank: None if rank else "c0ffee")
    assert [remarks for _, remarks in outcomes] == [[], []]


def test_noise_on_labels_is_no_finding():
    clean = Labelled([0, 1, 2, 3] * 4, num_classes=4)
    noisy = NoisySource(clean, parse_noise("conflict:1:9"), seed=0)
    facts, remarks = outcome(Runtime(), lambda rank: noisy, same)
    assert noisy.num_classes == 36
    assert (facts["classes"], facts["classes without images"], remarks) == (4, 0, [])


def run_to_an_error(runtime, folder, rec):
    cfg = small(folder, f"rec={rec}", "num_classes=None", "num_image=None", "batch_size=4")
    with pytest.raises(
        InputError, match=r"ann/3\.jpg: not a readable image.* \(and 1 more of the 12 images looked at\)"
    ):
        train(cfg, runtime)


@pytest.mark.parametrize("world", [1, 2])
def test_torn_pictures_end_a_run_before_anything_is_written(tmp_path, world):
    rec = write_people(tmp_path / "people", {"ann": 6, "bob": 6}, size=32)
    for name in ("ann/3.jpg", "bob/1.jpg"):
        (rec / name).write_bytes(b"no picture")
    run_ranks(run_to_an_error, world, tmp_path, rec)
    assert not (tmp_path / "run").exists()


def test_the_log_and_the_report_have_the_findings(tmp_path):
    rec = write_people(tmp_path / "people", {"ann": 6, "bob": 5}, size=32)
    overrides = (f"rec={rec}", "num_classes=3", "num_image=None", "max_steps=1")
    run = train(small(tmp_path, *overrides), Runtime())
    log = (run / "training.log").read_text()
    assert (
        "data: images: 11, classes: 3, labels: of all images, images of a class: 0 to 6, median 5, classes without"
        in log
    )
    assert "note: 1 of 3 classes have no image: 2; their centres" in log
    for page in ("report.md", "index.html"):
        assert "images of a class" in (run / "report" / page).read_text()
