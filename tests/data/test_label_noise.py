"""Label noise: exact shares, even draws that hang on (seed, image) alone, and a copy whose list tells the truth."""

import csv
import sys

import numpy as np
import pytest

from launch import records
from recognition.command import run_command
from recognition.config import ConfigError, load_config
from recognition.data.label_noise import LabelNoise, NoisySource, flipped, parse_noise, split
from recognition.data.loader import Loader
from recognition.data.recordio import RecordReader, RecordWriter
from recognition.data.sources import SyntheticSource, open_source
from recognition.errors import InputError
from recognition.records.noising import write_noisy
from recognition.records.packing import pack_folder
from recognition.records.verifying import verify
from recognition.runtime import Runtime
from tests.conftest import CONFIGS
from tests.pictures import jpeg, write_people


def flip_all(count, classes, share, seed=0):
    ids = np.arange(count)
    labels = ids % classes
    return labels, flipped(ids, labels, share=share, num_images=count, num_classes=classes, seed=seed)


def chi_square(counts):
    expected = counts.sum() / counts.size
    return ((counts - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("share", [0.4, 0.123, 1.0])
@pytest.mark.parametrize("count", [1000, 1237])
def test_exactly_that_share_of_the_images_flips(share, count):
    old, new = flip_all(count, 7, share)
    assert (old != new).sum() == round(share * count)
    assert new.min() >= 0
    assert new.max() < 7
    assert new.dtype == np.int64


def test_flips_are_even_over_the_other_classes_and_over_the_images():
    old, new = flip_all(60_000, 10, 0.5)
    moved = np.flatnonzero(old != new)
    steps = np.bincount((new - old)[moved] % 10, minlength=10)
    assert steps[0] == 0
    assert abs(chi_square(steps[1:]) - 8) < 4 * np.sqrt(2 * 8)
    pairs = np.zeros((10, 10))
    np.add.at(pairs, (old[moved], new[moved]), 1)
    # 90 cells, and the row sums are not fixed.
    assert abs(chi_square(pairs[~np.eye(10, dtype=bool)]) - 89) < 4 * np.sqrt(2 * 89)
    where = np.bincount(moved // 6000, minlength=10)
    assert abs(chi_square(where) - 9) < 4 * np.sqrt(2 * 9)


def test_another_seed_flips_other_images_to_other_people():
    (old, first), (_, second) = flip_all(10_000, 100, 0.5), flip_all(10_000, 100, 0.5, seed=1)
    both = (first != old) & (second != old)
    assert abs(both.sum() - 2500) < 4 * 50, "as often as independent coins agree"
    assert abs((first == second)[both].sum() - both.sum() / 99) < 4 * np.sqrt(both.sum() / 99)


def test_two_classes_flip_into_each_other():
    old, new = flip_all(100, 2, 1.0)
    assert np.array_equal(new, 1 - old)


def test_exactly_that_share_of_the_identities_is_split_and_evenly_so():
    ids, classes, parts = np.arange(90_000), 30, 3
    labels = ids % classes
    new = split(ids, labels, share=0.4, parts=parts, num_classes=classes, seed=3)
    assert LabelNoise("conflict", 0.4, parts).num_classes(classes) == 30 + 12 * 2
    owners = {label: set(np.unique(labels[new == label]).tolist()) for label in np.unique(new)}
    assert sorted(owners) == list(range(54)), "every label has images"
    assert all(len(owner) == 1 for owner in owners.values()), "a label never mixes people"
    labels_of = [np.unique(new[labels == person]) for person in range(classes)]
    assert sorted(map(len, labels_of)) == [1] * 18 + [3] * 12
    assert all(person in mine for person, mine in enumerate(labels_of)), "one part keeps the old label"
    sizes = np.array([[(new == label).sum() for label in mine] for mine in labels_of if len(mine) == 3])
    assert abs(chi_square(sizes) - 24) < 4 * np.sqrt(2 * 24)


def test_which_person_is_split_is_even_over_seeds():
    times = np.zeros(8)
    for seed in range(600):
        # Part 0 keeps the label, so look at many images of each person.
        labels = np.repeat(np.arange(8), 12)
        new = split(np.arange(96), labels, share=0.25, parts=2, num_classes=8, seed=seed)
        chosen = np.unique(labels[new != labels])
        assert len(chosen) <= 2
        times[chosen] += 1
    assert abs(chi_square(times) - 7) < 4 * np.sqrt(2 * 7)


def test_the_published_conflict_set_has_its_number_of_labels():
    assert parse_noise("conflict:0.32364:3").num_classes(617_970) == 1_017_970
    assert parse_noise("flip:0.4").num_classes(617_970) == 617_970


@pytest.mark.parametrize("text", ["flip:0.3", "conflict:0.5", "conflict:0.5:4"])
def test_noise_depends_on_seed_and_image_alone(text):
    noise, ids = parse_noise(text), np.arange(500)
    labels = ids % 13
    counts = {"num_images": 500, "num_classes": 13}
    whole = noise.apply(ids, labels, seed=1, **counts)
    order = np.random.default_rng(0).permutation(500)
    assert np.array_equal(noise.apply(ids[order], labels[order], seed=1, **counts), whole[order])
    assert [int(noise.apply(ids[i : i + 1], labels[i : i + 1], seed=1, **counts)[0]) for i in range(50)] == list(
        whole[:50]
    )
    assert not np.array_equal(noise.apply(ids, labels, seed=2, **counts), whole)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flip",
        "flip:",
        "flip:0",
        "flip:1.1",
        "flip:nan",
        "flip:0.4:2",
        "conflict:0.3:1",
        "conflict:0.3:2:1",
        "swap:0.1",
    ],
)
def test_what_is_no_noise_is_refused(text):
    with pytest.raises(InputError, match="write flip:0.4"):
        parse_noise(text)


def test_one_class_cannot_flip():
    with pytest.raises(InputError, match="at least 2"):
        flipped(np.arange(3), np.zeros(3, int), share=0.5, num_images=3, num_classes=1, seed=0)


def test_a_noisy_source_changes_labels_only():
    clean = SyntheticSource(num_classes=6, num_image=60, image_size=32)
    noisy = NoisySource(clean, parse_noise("conflict:0.5:3"), seed=4)
    assert (len(noisy), noisy.num_classes) == (60, 12)
    labels = np.array([noisy.read(i).label for i in range(60)])
    assert np.array_equal(labels, split(np.arange(60), np.arange(60) % 6, share=0.5, parts=3, num_classes=6, seed=4))
    assert type(noisy.read(0).label) is int
    assert np.array_equal(noisy.read(7).payload, clean.read(7).payload)
    assert noisy.describe(7) == clean.describe(7)


def test_the_config_key():
    given = ["rec=synthetic", "num_classes=10", "num_image=100"]
    assert load_config(CONFIGS / "base.py", given).label_noise is None
    assert load_config(CONFIGS / "base.py", [*given, "label_noise=conflict:0.3:3"]).label_noise == "conflict:0.3:3"
    with pytest.raises(ConfigError, match="command line: label noise 'flip:2' is not known"):
        load_config(CONFIGS / "base.py", [*given, "label_noise=flip:2"])


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Ten people with 9 pictures each, packed."""
    folder = tmp_path_factory.mktemp("noise")
    pack_folder(write_people(folder / "people", {f"p{i}": 9 for i in range(10)}), folder / "set")
    return folder / "set"


@pytest.mark.parametrize(("text", "classes"), [("flip:0.4", 10), ("conflict:0.5", 15)])
def test_training_on_the_copy_is_training_under_the_source(packed, tmp_path, text, classes):
    made = write_noisy(packed / "train.rec", tmp_path / "out", parse_noise(text), seed=5)
    assert (made.num_images, made.num_classes) == (90, classes)
    assert (tmp_path / "out" / "property").read_text() == f"{classes},16,16"
    assert verify(tmp_path / "out" / "train.rec").num_problems == 0
    copy, wrapped = open_source(tmp_path / "out"), NoisySource(open_source(packed), parse_noise(text), seed=5)
    assert (len(copy), copy.num_classes) == (len(wrapped), wrapped.num_classes)
    options = {"batch_size": 10, "runtime": Runtime(), "seed": 0, "num_steps": 9, "image_size": 16, "num_workers": 0}
    for ours, theirs in zip(Loader(copy, **options), Loader(wrapped, **options)):
        assert ours.labels_B.tolist() == theirs.labels_B.tolist()
        assert ours.images_BHWC.equal(theirs.images_BHWC)


def test_the_list_says_what_was_changed_and_nothing_else(packed, tmp_path):
    made = write_noisy(packed / "train.rec", tmp_path / "out", parse_noise("flip:0.4"), seed=5)
    with RecordReader(packed / "train.rec") as before, RecordReader(tmp_path / "out" / "train.rec") as after:
        rows = list(csv.DictReader((tmp_path / "out" / "noise.csv").read_text().splitlines()))
        listed = {int(row["key"]): row for row in rows}
        assert len(rows) == len(listed) == 36
        assert "36 images have another label" in made.remarks[0]
        for key, source_key in zip(after.image_keys.tolist(), before.image_keys.tolist()):
            old, new = before.read(source_key), after.read(key)
            assert bytes(old.payload) == bytes(new.payload)
            row = listed.get(key)
            assert (old.label != new.label) == (row is not None)
            if row:
                expected = {"source_key": source_key, "old_label": old.label, "new_label": new.label}
                assert {name: int(row[name]) for name in expected} == expected


def test_what_cannot_be_copied_is_one_line_and_leaves_nothing(packed, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("here")
    noise = parse_noise("flip:0.4")
    with pytest.raises(InputError, match="already exists"):
        write_noisy(packed / "train.rec", tmp_path / "full", noise)
    with RecordWriter(tmp_path / "bare" / "train.rec") as writer:
        for key in range(3):
            writer.write(key, jpeg(key), key)
    with pytest.raises(InputError, match="write `property`"):
        write_noisy(tmp_path / "bare" / "train.rec", tmp_path / "out", noise)
    (tmp_path / "bare" / "property").write_text("2,16,16")
    with pytest.raises(InputError, match="label 2 is outside the 2 classes"):
        write_noisy(tmp_path / "bare" / "train.rec", tmp_path / "out", noise)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "full"]
    assert (tmp_path / "full" / "mine").read_text() == "here"


def test_the_command(packed, tmp_path, monkeypatch, capfd):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["records.py", "noise", str(packed), *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_command(records.main)
        return ended.value.code, *capfd.readouterr()

    code, out, err = run(tmp_path / "flip", "--flip", "0.4")
    assert (code, err) == (0, "")
    assert out.startswith("wrote 90 images under 10 labels; 36 images have another label")
    assert run(tmp_path / "other", "--flip", "0.4", "--seed", "1")[0] == 0
    assert (tmp_path / "other" / "noise.csv").read_text() != (tmp_path / "flip" / "noise.csv").read_text()
    assert run(tmp_path / "split", "--conflict", "0.2:3")[1].startswith("wrote 90 images under 14 labels")
    code, _, err = run(tmp_path / "x", "--flip", "2")
    assert code == 2
    assert err.startswith("error: label noise 'flip:2' is not known")
