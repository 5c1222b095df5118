"""What is written after --targets: kinds and names, and what is refused before anything is embedded."""

from pathlib import Path

import pytest

from recognition.errors import InputError
from recognition.targets.opening import KINDS, names_of, open_target, open_targets
from recognition.targets.target import Options
from tests.pictures import write_people
from tests.verification.synthetic import pair_file

OPTIONS = Options(replicates=30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lwf:somewhere", r"no kind 'lwf'; did you mean lfw:somewhere\?"),
        ("tree:somewhere", "no kind 'tree'; there are pairs, lfw"),
        ("lfw:", "names no path; write lfw:PATH"),
        ("absent.bin", "absent.bin does not exist"),
        ("absent.csv", "absent.csv: cannot be read"),
        (".", r"is a folder, and pairs are a .bin file or a list; or name its kind, e.g. lfw:"),
    ],
)
def test_what_cannot_be_a_target_is_explained(text, message):
    with pytest.raises(InputError, match=message):
        open_target(text, "x", OPTIONS)


def test_targets_of_one_name_are_called_by_their_paths():
    assert names_of(["lfw.v2.bin", "ijbc:data/IJBC.v2", "all:.."]) == ["lfw.v2", "IJBC.v2", ".."]
    assert names_of(["a/lfw.bin", "b/lfw.bin", "lfw:c/tree"]) == ["a/lfw.bin", "b/lfw.bin", "tree"]
    with pytest.raises(InputError, match="names a/lfw.bin twice"):
        names_of(["a/lfw.bin", "a/lfw.bin"])
    assert {"pairs", "lfw", "cfp-fp", "agedb-30", "calfw", "cplfw", "all"} <= set(KINDS)


@pytest.mark.parametrize(
    ("given", "texts", "message"),
    [
        (
            {"images": Path("photos")},
            ["a.bin", "lfw:tree"],
            "--images: none of these targets takes it; it is for",
        ),
        ({"groups": Path("g.csv")}, ["all:people", "ijbc:tree"], "--groups: none of these targets takes it"),
        ({"detector": Path("d.onnx")}, ["a.bin", "all:people", "ijbb:tree"], "--detector: none of these targets takes"),
        # Published sets have 6,000 pairs each, so the number of rows would not show it.
        ({"groups": Path("g.csv")}, ["calfw.bin", "cplfw.bin"], "g.csv has the pairs of one set; verify on one target"),
        ({"groups": Path("g.csv")}, ["calfw.bin", "all:people"], "g.csv has the pairs of one set"),
        ({"unit": "people"}, ["all:people", "openset:x"], "--unit: none of these targets takes it; it is for pairs"),
        ({"diagnose": "deep"}, ["all:people", "openset:x"], "--diagnose: none of these targets takes it; it tries"),
    ],
)
def test_an_option_that_would_be_passed_over_or_misread_is_refused(given, texts, message):
    with pytest.raises(InputError, match=message):
        open_targets(texts, Options(**given))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"images": Path("photos")}, "absent.csv"),
        ({"detector": Path("absent")}, "lfw:absent"),
        ({"groups": Path("absent")}, "lfw:absent"),
        ({"groups": Path("absent")}, "absent.csv"),
        ({"detector": Path("absent")}, "absent.csv"),
        ({"detector": Path("absent")}, "openset:absent"),
        ({"detector": Path("absent")}, "tinyface:absent"),
        ({"diagnose": "auto"}, "openset:absent"),
        *[({"diagnose": "deep"}, text) for text in ("lfw:absent", "absent.bin", "absent.csv")],
        *[({"unit": "pairs"}, text) for text in ("lfw:absent", "absent.bin", "absent.csv")],
    ],
)
def test_an_option_that_a_target_takes_is_let_through(given, text):
    with pytest.raises(InputError) as caught:
        open_targets([text], Options(**given))
    assert "takes it" not in str(caught.value)
    assert "absent" in str(caught.value)


def test_all_are_opened_in_order_each_with_its_name(tmp_path):
    paths = [str(pair_file(tmp_path / name, num_pairs=10)) for name in ("b.bin", "a.bin")]
    assert [target.name for target in open_targets(paths, OPTIONS)] == ["b", "a"]
    with pytest.raises(InputError, match="c.bin does not exist"):
        open_targets([*paths, str(tmp_path / "c.bin")], OPTIONS)


def test_pictures_that_are_missing_are_counted_at_once(tmp_path):
    write_people(tmp_path / "people", {"ann": 2, "bob": 1})
    (tmp_path / "list.csv").write_text("ann/0.jpg,ann/1.jpg,1\nann/0.jpg,bob/9.jpg,0\nann/1.jpg,bob/0.jpg,0\n" * 5)
    with pytest.raises(InputError, match=r"list: 1 of 4 pictures are missing, first .*people/bob/9.jpg; .*--images"):
        open_targets([str(tmp_path / "list.csv")], Options(images=tmp_path / "people"))
    with pytest.raises(InputError, match="4 of 4 pictures are missing"):
        open_targets([str(tmp_path / "list.csv")], OPTIONS)
