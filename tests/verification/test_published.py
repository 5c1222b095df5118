"""Small trees laid out as LFW, CFP, AgeDB, CALFW and CPLFW are published, with the pairs that are to come of them."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from recognition.errors import InputError
from recognition.verification.published import PROTOCOLS, read_protocol

FOLDS = range(1, 11)


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def relative(pairs: list, folder: Path) -> list[tuple[str, ...]]:
    return [tuple(Path(path).relative_to(folder).as_posix() for path in pair) for pair in pairs]


def test_lfw(tmp_path):
    lines = [(f"Ann_{fold}\t1\t{fold}", f"Ann_{fold}\t2\tBo_{fold}\t1") for fold in FOLDS]
    write(tmp_path / "pairs.txt", "10\t1", *(line for both in lines for line in both))
    pairs, issame, *_ = read_protocol("lfw", tmp_path)
    assert issame == [True, False] * 10
    assert relative(pairs, tmp_path)[6:8] == [
        ("Ann_4/Ann_4_0001.jpg", "Ann_4/Ann_4_0004.jpg"),
        ("Ann_4/Ann_4_0002.jpg", "Bo_4/Bo_4_0001.jpg"),
    ]


@pytest.fixture
def cfp(tmp_path) -> Path:
    """Twenty people with a frontal and a profile picture; fold f: person f with himself, and with person f + 10."""
    protocol = tmp_path / "Protocol"
    for letter, pose in (("F", "frontal"), ("P", "profile")):
        lines = (f"{person} ../Data/Images/{person:03d}/{pose}/01.jpg" for person in range(1, 21))
        write(protocol / f"Pair_list_{letter}.txt", *lines)
    for fold in FOLDS:
        write(protocol / "Split" / "FP" / f"{fold:02d}" / "same.txt", f"{fold},{fold}")
        write(protocol / "Split" / "FP" / f"{fold:02d}" / "diff.txt", f"{fold},{fold + 10}")
    return tmp_path


def test_cfp_fp(cfp):
    pairs, issame, *_ = read_protocol("cfp-fp", cfp)
    assert issame == [True, False] * 10
    assert relative(pairs, cfp)[18:] == [
        ("Data/Images/010/frontal/01.jpg", "Data/Images/010/profile/01.jpg"),
        ("Data/Images/010/frontal/01.jpg", "Data/Images/020/profile/01.jpg"),
    ]
    assert len(set(pairs)) == 20


def test_cfp_fp_of_aligned_copies(cfp):
    pairs, *_ = read_protocol("cfp-fp", cfp / "aligned", cfp / "Protocol")
    assert relative(pairs, cfp / "aligned")[0] == ("Data/Images/001/frontal/01.jpg", "Data/Images/001/profile/01.jpg")


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        (
            "Split/FP/03/same.txt",
            ["3,3", "3,99"],
            r"same.txt: line 2 is '3,99', which are no numbers",
        ),
        ("Split/FP/03/same.txt", ["nonsense"], "line 1 is 'nonsense'"),
        ("Split/FP/03/diff.txt", ["99,3"], "line 1 is '99,3'"),
        ("Split/FP/03/same.txt", [], r"folds of these sizes .*3: 1, 4: 2"),
        ("Pair_list_P.txt", ["1"], "Pair_list_P.txt: line 1 is '1'; expected"),
    ],
)
def test_cfp_that_is_not_as_published(file, lines, message, cfp):
    write(cfp / "Protocol" / file, *lines)
    with pytest.raises(InputError, match=message):
        read_protocol("cfp-fp", cfp)
    (cfp / "Protocol" / file).unlink()
    with pytest.raises(InputError, match=f"{file}: cannot be read"):
        read_protocol("cfp-fp", cfp)


def agedb_splits(folds: list[list[tuple[str, str, int]]]) -> np.ndarray:
    """Cells and structs as scipy reads them from the published file."""
    splits = np.empty((len(folds), 1), object)
    for number, fold in enumerate(folds):
        cells = np.empty((2, len(fold)), object)
        for place, (one, two, _) in enumerate(fold):
            cells[0, place], cells[1, place] = {"name": one, "age": 30}, {"name": two, "age": 60}
        splits[number, 0] = {"pairs": cells, "labels": np.array([[label for *_, label in fold]], np.int16)}
    return splits


def write_agedb(path: Path, folds: list[list[tuple[str, str, int]]]) -> None:
    savemat(path, {"splits": agedb_splits(folds)})


@pytest.fixture
def agedb(tmp_path) -> Path:
    folds = [[(f"Ann_{f}_30_f", f"Ann_{f}_60_f", 1), (f"Ann_{f}_30_f", f"Bo_{f}_60_m", -1)] for f in FOLDS]
    write_agedb(tmp_path / "04_FINAL_protocol_30_years.mat", folds)
    return tmp_path


@pytest.mark.parametrize("images", ["03_Protocol_Images", "."])
def test_agedb_30(images, agedb):
    (agedb / images).mkdir(exist_ok=True)
    pairs, issame, *_ = read_protocol("agedb-30", agedb)
    assert issame == [True, False] * 10
    assert relative(pairs, agedb / images)[4:6] == [
        ("Ann_3_30_f.jpg", "Ann_3_60_f.jpg"),
        ("Ann_3_30_f.jpg", "Bo_3_60_m.jpg"),
    ]


def test_agedb_30_as_text(tmp_path):
    lst = write(tmp_path / "agedb_30_pair.txt", "00001.jpg 00002.jpg 1", "00003.jpg 00004.jpg -1")
    pairs, issame, *_ = read_protocol("agedb-30", tmp_path, lst)
    assert issame == [True, False]
    assert relative(pairs, tmp_path) == [("00001.jpg", "00002.jpg"), ("00003.jpg", "00004.jpg")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": 1}, "lacks the variable 'splits'"),
        ({"splits": np.zeros((3, 2))}, ": is not AgeDB's 04_FINAL"),
        ({"splits": np.array([[{"pairs": "none", "labels": 1}]])}, ": is not AgeDB's 04_FINAL"),
        ({"splits": np.array([[{"pairs": np.zeros((2, 3)), "labels": 1}]])}, ": is not AgeDB's 04_FINAL"),
        ({"splits": agedb_splits([[("Ann_1_30_f", "Ann_2_60_f", 2)]])}, ": .*a label of a pair is 2, neither 1 nor -1"),
        (None, "cannot be read as a MATLAB file"),
    ],
    ids=["another variable", "numbers", "text", "pairs of numbers", "label", "no matlab"],
)
def test_other_matlab_files(content, message, tmp_path):
    path = tmp_path / "04_FINAL_protocol_30_years.mat"
    path.write_bytes(b"no matlab file" * 20) if content is None else savemat(path, content)
    with pytest.raises(InputError, match=f"30_years.mat ?{message}"):
        read_protocol("agedb-30", tmp_path)


def test_agedb_with_a_short_fold(agedb):
    write_agedb(agedb / "04_FINAL_protocol_30_years.mat", [[("a_1", "a_2", 1)] * (2 if f == 5 else 3) for f in FOLDS])
    with pytest.raises(InputError, match="folds of these sizes .*4: 2"):
        read_protocol("agedb-30", agedb)


def flat_lists() -> dict[str, list[str]]:
    """20 pairs of one person and then 20 of two: CALFW numbers the former by fold, CPLFW all by 1."""
    lines = {"calfw": [], "cplfw": []}
    for place in range(20):
        for name in (f"Ann_{place}_0001.jpg", f"Ann_{place}_0002.jpg"):
            lines["calfw"].append(f"{name} {place // 2 + 1}")
            lines["cplfw"].append(f"{name} 1")
    for place in range(20):
        for name in (f"Bo_{place}_0001.jpg", f"Cy_{place}_0001.jpg"):
            for kind in lines.values():
                kind.append(f"{name} 0")
    return lines


@pytest.mark.parametrize(
    ("name", "images"), [("calfw", "aligned images"), ("cplfw", "images"), ("cplfw", "aligned images"), ("calfw", ".")]
)
def test_calfw_and_cplfw(name, images, tmp_path):
    (tmp_path / images).mkdir(exist_ok=True)
    write(tmp_path / PROTOCOLS[name][1], *flat_lists()[name])
    pairs, issame, *_ = read_protocol(name, tmp_path)
    assert issame == [True, True, False, False] * 10
    assert relative(pairs, tmp_path / images)[8:12] == [
        ("Ann_4_0001.jpg", "Ann_4_0002.jpg"),
        ("Ann_5_0001.jpg", "Ann_5_0002.jpg"),
        ("Bo_4_0001.jpg", "Cy_4_0001.jpg"),
        ("Bo_5_0001.jpg", "Cy_5_0001.jpg"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-2], "20 pairs of one person and 19 of two"),
        (lambda lines: lines[4:-4], "18 pairs of one person and 18 of two, not .* a multiple of 10"),
        (lambda lines: lines[:-1], "the pair at line 79 is not two lines"),
        (lambda lines: [*lines[:4], "x.jpg 3", "y.jpg 4"], "the pair at line 5 is not two lines"),
        (lambda lines: ["x.jpg one", "y.jpg one"], "the pair at line 1 is not two lines"),
        (lambda lines: [], "0 pairs of one person and 0 of two"),
    ],
)
def test_calfw_that_is_not_as_published(change, message, tmp_path):
    write(tmp_path / "pairs_CALFW.txt", *change(flat_lists()["calfw"]))
    with pytest.raises(InputError, match=message):
        read_protocol("calfw", tmp_path)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_list_that_is_not_there(name, tmp_path):
    with pytest.raises(InputError, match=f"does not exist; put {name}'s published .* there"):
        read_protocol(name, tmp_path)


def test_the_people_of_published_pairs(cfp, tmp_path):
    assert read_protocol("cfp-fp", cfp).people[18:] == [("010", "010"), ("010", "020")]
    write(tmp_path / "flat" / "pairs_CPLFW.txt", *flat_lists()["cplfw"])
    people = read_protocol("cplfw", tmp_path / "flat").people
    assert people[1:3] == [("Ann_1", "Ann_1"), ("Bo_0", "Cy_0")]
    (tmp_path / "agedb").mkdir()
    folds = [[(f"{f}_AnnPo_30_f", f"9{f}_AnnPo_60_f", 1), (f"{f}_AnnPo_30_f", f"8{f}_Bo_60_m", -1)] for f in FOLDS]
    write_agedb(tmp_path / "agedb" / "04_FINAL_protocol_30_years.mat", folds)
    assert read_protocol("agedb-30", tmp_path / "agedb").people[:2] == [("AnnPo", "AnnPo"), ("AnnPo", "Bo")]


@pytest.mark.parametrize("name", ["Ann_9_30_f", "AnnBo"])
def test_names_of_files_that_contradict_the_flags_say_nothing(name, tmp_path):
    folds = [[(f"x_Ann_{f}", f"y_Ann_{f}", 1), (f"x_Ann_{f}", "x_Ann_0" if f == 7 else name, -1)] for f in FOLDS]
    write_agedb(tmp_path / "04_FINAL_protocol_30_years.mat", folds)
    found = read_protocol("agedb-30", tmp_path)
    assert (found.people, len(found.pairs)) == (None, 20)
