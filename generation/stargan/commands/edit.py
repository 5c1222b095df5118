"""Edit pictures of your own: set attributes, leave the others as they are; writes pictures and a sheet of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from generation.parsing.blending import FACE, lay_back
from generation.parsing.opening import open_parser
from generation.pictures import batch_of, middle_pixels, pixels_of
from generation.stargan.asked import Asked
from generation.stargan.attribute_judge import AttributeJudge
from generation.stargan.attributes import read_attributes
from generation.stargan.boards import save_sheet, sheet_of
from generation.stargan.checkpoint import read_checkpoint
from generation.stargan.editing import BATCH, edited
from recognition.data.decode import upright_image
from recognition.data.sources.files import IMAGE_SUFFIXES, read_image_file
from recognition.errors import InputError
from recognition.grid import save_png
from recognition.heads.classes import NAMES

REGIONS = (*FACE, "hair")
SHEET, MOST_ON_SHEET = "sheet.png", 16
LabelsOf = Callable[[Sequence[Path], Tensor], np.ndarray]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The generator, the pictures, what they shall have, what they have, and where to write."""
    add = parser.add_argument
    add("model", type=Path, metavar="RUN", help="folder of a run of launch/stargan.py, or one checkpoint")
    add("pictures", type=Path, nargs="+", help="picture files, or folders of them")
    add("--set", nargs="+", required=True, metavar="ATTR=1", dest="wanted", help="what they shall have, or not: ATTR=0")
    add("--have", nargs="+", default=[], metavar="ATTR=1", help="what all of them have, or not, as far as you know it")
    add("--attr_path", type=Path, metavar="FILE", help="table of what each of them has, in CelebA's form")
    add("--judge", type=Path, metavar="FILE", help="of launch/edits.py judge: says what each of them has")
    add("--parser", type=Path, metavar="FILE", help="BiSeNet: lays what an edit changes back on the whole pictures")
    add("--regions", nargs="+", choices=NAMES, metavar="CLASS", help="where (default: face and hair)")
    add("--crop_size", type=int, metavar="N", help="side of the middle square (default: the largest)")
    add("--out", type=Path, required=True, help="folder to write into; pictures keep their names")


def run(given: argparse.Namespace) -> None:
    """Edit, write, and say how many; what cannot be read is told and left out, InputError where nothing can."""
    checkpoint = read_checkpoint(given.model)
    generator, side = checkpoint.generator(), checkpoint.image_size
    asked = Asked(checkpoint.attributes, checkpoint.exclusive)
    wanted, have = asked.values(given.wanted, "--set"), asked.values(given.have, "--have")
    labels_of = _labels_of(given, asked, wanted, have)
    parser = None if given.parser is None else open_parser(given.parser)
    if given.regions and parser is None:
        raise InputError("--regions says where an edit is laid back, which --parser does: give both")
    classes = [NAMES.index(name) for name in given.regions or REGIONS]
    paths = list(picture_paths(given.pictures))
    names = _names(paths)
    _require_free(given.out, [SHEET, *names.values()])
    given.out.mkdir(parents=True, exist_ok=True)
    shown: list[list[np.ndarray]] = []
    done = 0
    bar = tqdm(total=len(paths), desc="editing", unit="picture", delay=2, leave=False, disable=None)
    with bar:
        for start in range(0, len(paths), BATCH):
            read = ((path, _read(path, side, given.crop_size)) for path in paths[start : start + BATCH])
            some = [(path, pixels_HWC) for path, pixels_HWC in read if pixels_HWC is not None]
            bar.update(len(paths[start : start + BATCH]))
            if not some:
                continue
            before = batch_of([pixels for _, pixels in some])
            targets_BA = asked.targets(labels_of([path for path, _ in some], before), wanted)
            for (path, pixels_HWC), made_HWC in zip(some, pixels_of(edited(generator, before, targets_BA)).numpy()):
                whole_HWC = made_HWC
                if parser is not None:
                    region_SS = np.isin(parser(pixels_HWC), classes)
                    whole_HWC, made_HWC = _laid_back(path, pixels_HWC, made_HWC, region_SS, given.crop_size)
                save_png(given.out / names[path], whole_HWC)
                shown.append([pixels_HWC, made_HWC])
            done += len(some)
    if not done:
        raise InputError(f"none of the {len(paths)} pictures could be read; see the lines above")
    save_sheet(given.out / SHEET, sheet_of(shown[:MOST_ON_SHEET]))
    print(f"edited: {done} of {len(paths)} pictures, {' '.join(given.wanted)}, in {given.out}; {given.out / SHEET}")


def _labels_of(given: argparse.Namespace, asked: Asked, wanted: dict[str, bool], have: dict[str, bool]) -> LabelsOf:
    """What gives the attributes, bool (B, A), that pictures have: by the table, the judge, or as `--have` says."""
    names = asked.names
    if given.attr_path is not None:
        table = read_attributes(given.attr_path).chosen(names)
        rows = {Path(file).name: row for row, file in enumerate(table.files)}

        def of_table(paths: Sequence[Path], _: Tensor) -> np.ndarray:
            if missing := [path for path in paths if path.name not in rows]:
                raise InputError(f"{given.attr_path} does not name {missing[0].name}")
            return table.values_NA[[rows[path.name] for path in paths]]

        return of_table
    if given.judge is not None:
        judge = AttributeJudge.open(given.judge)
        return lambda _, before: judge.likeliest(before, names)
    if unknown := asked.unknown(wanted, have):
        raise InputError(
            f"nobody says whether the pictures have {', '.join(unknown)}, which shall stay as it is; give --judge, "
            "--attr_path, or --have"
        )
    row_A = np.array([have.get(name, False) for name in names])
    return lambda paths, _: np.tile(row_A, (len(paths), 1))


def picture_paths(given: Sequence[Path]) -> Iterator[Path]:
    """The picture files that are named, and those in folders that are; InputError for what does not exist."""
    for path in given:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not files:
                raise InputError(f"{path} holds no picture")
            yield from files
        elif path.is_file():
            yield path
        else:
            raise InputError(f"{path} does not exist; give picture files, or folders of them")


def _require_free(out: Path, names: Sequence[str]) -> None:
    """InputError where a file would be written over: it may be the picture itself."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder")
    if there := next((name for name in names if (out / name).exists()), None):
        raise InputError(f"{out / there} is there already; choose another --out")


def _laid_back(
    path: Path, before_SSC: np.ndarray, edited_SSC: np.ndarray, region_SS: np.ndarray, crop_size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """What an edit changes inside a region, on the whole picture and on the square that it was made of."""
    photo_HWC = np.asarray(upright_image(read_image_file(str(path)), lambda: str(path)))
    side, (height, width) = len(before_SSC), photo_HWC.shape[:2]
    crop = min(height, width) if crop_size is None else crop_size
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    scale = side / crop
    # Pixels are areas: the square's first one begins at its edge.
    shift = 0.5 * scale - 0.5
    matrix_23 = np.array([[scale, 0, shift - left * scale], [0, scale, shift - top * scale]])
    whole = lay_back(photo_HWC, before_SSC, edited_SSC, matrix_23, region_SS)
    return whole, lay_back(before_SSC, before_SSC, edited_SSC, np.eye(2, 3), region_SS)


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """The name that each is written under, all different."""
    names: dict[Path, str] = {}
    taken = {SHEET}
    for path in paths:
        name, count = f"{path.stem}.png", 1
        while name in taken:
            count += 1
            name = f"{path.stem}-{count}.png"
        taken.add(name)
        names[path] = name
    return names


def _read(path: Path, side: int, crop_size: int | None) -> np.ndarray | None:
    try:
        return middle_pixels(read_image_file(str(path)), lambda: str(path), side, crop_size)
    except InputError as error:
        tqdm.write(f"left out: {error}", file=sys.stderr)
        return None
