"""The pairs of published verification sets, read from the files in which their authors give them out.

Each reader keeps the folds as published, one after another, because readers of `.bin` files cut them into 10 equal
blocks. What is relied on, and who reads it the same way:

lfw        pairs.txt: `10<TAB>300`, then 10 times 300 lines `name a b` and 300 lines `name a other b` (LFW's README).
cfp-fp     Protocol/Pair_list_F.txt and Pair_list_P.txt: `index path`, paths relative to Protocol, index from 1;
           Protocol/Split/FP/01 to 10 with same.txt and diff.txt: `frontal,profile` (the Readme in the archive).
agedb-30   04_FINAL_protocol_30_years.mat: `splits`, a column of 10 structs: first field the pairs, 2 x 600 structs
           whose first field is the name of the file without .jpg; second field 1 for one person, -1 for two (as
           FaceX-Zoo and insightface's agedb2pack.py read it). Pictures in 03_Protocol_Images.
calfw      pairs_CALFW.txt: `file number` on two lines for each pair; 3,000 pairs of one person first, numbered by their
           fold from 1 to 10, then 3,000 pairs of two people with 0. The folds of the latter are not published: as
           FaceX-Zoo does, the first 300 go to the first fold, and so on. Pictures in `aligned images`.
cplfw      pairs_CPLFW.txt: the same with 1 for one person. Pictures in `aligned images` or `images`.

Who is on a picture is read off LFW's list itself, the folder above the pose of CFP, and the name of the file: AgeDB's
`number_person_age_gender`, CALFW's and CPLFW's `person_number`. Where that contradicts a flag it is left out.

insightface's own cfp_fp.bin, agedb_30.bin, calfw.bin and cplfw.bin were not compared: the order of pairs inside a fold
does not change any figure, but alignment does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from recognition.errors import InputError
from recognition.matlab import read_matlab, text_of
from recognition.verification.pair_lists import FOLDS, ListedPairs, PathPair, in_folds, lines_of, read_pair_list

CFP_FOLDER = "Protocol"
AGEDB_LIST, AGEDB_IMAGES = "04_FINAL_protocol_30_years.mat", "03_Protocol_Images"
FLAT_IMAGES = ("aligned images", "images")


def read_protocol(name: str, folder: str | Path, lst: str | Path | None = None) -> ListedPairs:
    """The pairs of paths and the flags of the set `name` (PROTOCOLS) that was unpacked into `folder`.

    `lst` is the published list, or CFP's Protocol folder, where it does not lie in `folder` (beside aligned copies of
    the pictures, say). InputError for a list that is not as published, naming the line.
    """
    folder = Path(folder)
    read, default = PROTOCOLS[name]
    lst = folder / default if lst is None else Path(lst)
    if not lst.exists():
        raise InputError(f"{lst} does not exist; put {name}'s published {default} there; records.py pairs takes --list")
    return read(folder, lst)


def _read_cfp(folder: Path, protocol: Path) -> ListedPairs:
    frontal, profile = (_cfp_paths(folder, protocol / f"Pair_list_{pose}.txt") for pose in "FP")
    pairs: list[PathPair] = []
    issame: list[bool] = []
    folds: list[str] = []
    for fold in range(1, FOLDS + 1):
        for name, same in (("same.txt", True), ("diff.txt", False)):
            path = protocol / "Split" / "FP" / f"{fold:02d}" / name
            for number, line in enumerate(lines_of(path), 1):
                one, _, two = line.partition(",")
                if not line.strip():
                    continue
                if one.strip() not in frontal or two.strip() not in profile:
                    raise InputError(
                        f"{path}: line {number} is {line[:60]!r}, which are no numbers of the pair lists beside it; "
                        "unpack the published archive again"
                    )
                pairs.append((frontal[one.strip()], profile[two.strip()]))
                issame.append(same)
                folds.append(str(fold))
    return _with_people(in_folds(protocol, pairs, issame, folds), lambda path: Path(path).parts[-3])


def _cfp_paths(folder: Path, lst: Path) -> dict[str, str]:
    """Path of the picture by the number that the splits have for it."""
    numbered = {}
    for number, line in enumerate(lines_of(lst), 1):
        match line.split(maxsplit=1):
            case []:
                continue
            case [index, path] if index.isdecimal():
                numbered[index] = os.path.normpath(os.path.join(folder, CFP_FOLDER, path.strip()))
            case _:
                raise InputError(
                    f"{lst}: line {number} is {line[:60]!r}; expected `1 ../Data/Images/001/frontal/01.jpg`"
                )
    return numbered


def _read_agedb(folder: Path, lst: Path) -> ListedPairs:
    images = _pictures_of(folder, AGEDB_IMAGES)
    if lst.suffix != ".mat":
        return read_pair_list(lst, images)
    pairs: list[PathPair] = []
    issame: list[bool] = []
    folds: list[str] = []
    splits = read_matlab(lst, ("splits",))["splits"]
    try:
        for fold, split in enumerate(splits.values):
            (fields,) = split.values
            people, labels, *_ = fields.values()
            names = [os.path.join(images, f"{text_of(name)}.jpg") for name in people.values]
            for one, two, label in zip(names[::2], names[1::2], labels.ravel(order="F"), strict=True):
                pairs.append((one, two))
                issame.append(int(label) == 1)
                folds.append(str(fold))
    except (ValueError, TypeError, AttributeError, OverflowError, InputError) as error:
        raise InputError(f"{lst}: is not AgeDB's {AGEDB_LIST} ({error}); unpack the published archive again") from error
    return _with_people(in_folds(lst, pairs, issame, folds), lambda path: Path(path).stem.split("_")[1])


def _read_flat(folder: Path, lst: Path) -> ListedPairs:
    images = _pictures_of(folder, *FLAT_IMAGES)
    lines = [line.split() for line in lines_of(lst) if line.strip()]
    genuine: list[PathPair] = []
    impostor: list[PathPair] = []
    for place in range(0, len(lines), 2):
        match lines[place : place + 2]:
            case [[one, number], [two, number_too]] if number == number_too and number.isdecimal():
                kind = genuine if int(number) else impostor
                kind.append((os.path.join(images, one), os.path.join(images, two)))
            case _:
                raise InputError(f"{lst}: the pair at line {place + 1} is not two lines `file number` with one number")
    if len(genuine) != len(impostor) or not genuine or len(genuine) % FOLDS:
        counts = f"{len(genuine)} pairs of one person and {len(impostor)} of two"
        raise InputError(f"{lst}: has {counts}, not as many of either and a multiple of {FOLDS}; is it cut short?")
    each = len(genuine) // FOLDS
    pairs = [
        pair for fold in range(FOLDS) for kind in (genuine, impostor) for pair in kind[fold * each : (fold + 1) * each]
    ]
    found = ListedPairs(pairs, ([True] * each + [False] * each) * FOLDS, list(range(len(pairs))))
    return _with_people(found, lambda path: Path(path).stem.rpartition("_")[0])


def _with_people(listed: ListedPairs, person_of: Callable[[str], str]) -> ListedPairs:
    """The same with who is on the pictures by their paths; without where one path tells nobody or contradicts a flag.

    The flags are the truth that is published, names of files are not.
    """
    try:
        people = [(person_of(first), person_of(second)) for first, second in listed.pairs]
    except IndexError:
        return listed
    fit = all((first == second) == same for (first, second), same in zip(people, listed.issame))
    return listed._replace(people=people) if fit else listed


def _pictures_of(folder: Path, *names: str) -> Path:
    """The first of these folders that is there, else `folder` itself: aligned copies have none of them."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def _read_lfw(folder: Path, lst: Path) -> ListedPairs:
    return read_pair_list(lst, folder)


PROTOCOLS: dict[str, tuple[Callable[[Path, Path], ListedPairs], str]] = {
    "lfw": (_read_lfw, "pairs.txt"),
    "cfp-fp": (_read_cfp, CFP_FOLDER),
    "agedb-30": (_read_agedb, AGEDB_LIST),
    "calfw": (_read_flat, "pairs_CALFW.txt"),
    "cplfw": (_read_flat, "pairs_CPLFW.txt"),
}
