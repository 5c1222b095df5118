"""Ten thousand damaged record sets: python -m tests.fuzz.records [--count 10000] [--seed 0] [--only N]

Each is opened and read to the end as training would. It must be refused when it is opened, by an error that names the
file; or each of its images is yielded or reported, by an error that names file, key and offset, and none is lost. With
checks beside it, what is yielded is what was written, to the bit. Nothing else may happen: no other exception, no
unpickling, no memory beyond twice the files and a constant, not more than two seconds of a processor.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from recognition.data.loader import Loader
from recognition.data.record_format import record_place
from recognition.data.sources import RecordSource, open_source
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.fuzz.bases import FILES, Base, make_bases
from tests.fuzz.damage import damaged
from tests.fuzz.processes import run_cases

CPU_S = 2.0
SPARE_BYTES = 48 << 20  # the constant; twice the largest set is added
FORBIDDEN = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")


class Wrong(Exception):
    """Something happened that must not."""


@dataclass
class Counts:
    """What came of all cases so far."""

    cases: int = 0
    refused: int = 0
    total: int = 0
    yielded: int = 0
    reported: int = 0
    slowest_s: float = 0.0
    kinds: Counter = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def add(self, number: int, result: dict | str) -> None:
        """Count the case `number`; a string is how it ended its process."""
        self.cases += 1
        if isinstance(result, str) or result["failure"]:
            self.failures.append((number, result if isinstance(result, str) else result["failure"]))
            return
        self.refused += result["refused"]
        self.total += result["total"]
        self.yielded += result["yielded"]
        self.reported += result["reported"]
        self.slowest_s = max(self.slowest_s, result["cpu_s"])
        self.kinds.update(result["kinds"])

    def __str__(self) -> str:
        return (
            f"{self.cases} damaged sets: {self.refused} refused when opened, {self.cases - self.refused} read; "
            f"{self.total} images = {self.yielded} yielded + {self.reported} reported; slowest "
            f"{self.slowest_s:.2f} s; {len(self.failures)} failures"
        )


def fuzz(seed: int, numbers: Sequence[int], *, jobs: int = 1) -> Counts:
    """Run the cases `numbers` of `seed` in `jobs` processes."""
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        (bases_in := Path(name) / "bases").mkdir()
        bases = make_bases(bases_in)
        _warm_up(bases, bases_in)
        spare = SPARE_BYTES + 2 * max(sum(map(len, base.files.values())) for base in bases)
        case = partial(run_case, seed, bases, Path(name))
        for number, result in run_cases(case, numbers, jobs=jobs, spare_bytes=spare):
            counts.add(number, result)
    return counts


def _warm_up(bases: list[Base], folder: Path) -> None:
    """Read what is sound, in this process: codecs are loaded, and the memory they take is not a case's."""
    Image.init()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    for base in bases:
        outcome = _read(folder / base.name, base, with_checks=True)
        expected = 0 if base.name == "multipart" else len(base.images)  # its payloads are no images
        if outcome["yielded"] != expected:
            raise Wrong(f"{base.name}: {outcome} before any damage")


def run_case(seed: int, bases: list[Base], folder: Path, number: int) -> dict:
    """Damage a set and read it; `failure` tells what happened that must not."""
    rng = np.random.default_rng([seed, number])
    base = bases[int(rng.choice(len(bases), p=_shares(bases)))]
    with_checks = bool(rng.integers(2))
    files, kinds = damaged(base, with_checks=with_checks, rng=rng)
    here = folder / f"{os.getpid()}"
    here.mkdir(exist_ok=True)
    for name in FILES:
        (here / name).unlink(missing_ok=True)
        if name in files:
            (here / name).write_bytes(files[name])
    outcome = {"refused": 0, "total": 0, "yielded": 0, "reported": 0, "kinds": kinds, "failure": ""}
    started = time.process_time()
    try:
        _forbid()
        outcome.update(_read(here, base, with_checks=with_checks))
    except BaseException:
        outcome["failure"] = f"{base.name}, {kinds}, checks: {with_checks}: {traceback.format_exc()}"
    outcome["cpu_s"] = time.process_time() - started
    if outcome["cpu_s"] > CPU_S and not outcome["failure"]:
        outcome["failure"] = f"{base.name}, {kinds}: took {outcome['cpu_s']:.1f} s"
    return outcome


def _shares(bases: list[Base]) -> list[float]:
    """How often each is taken: ours has the most to break, and its small images are quickly read."""
    return [0.6 if base.name == "ours" else 0.4 / (len(bases) - 1) for base in bases]


_forbidding: list[int] = []


def _forbid() -> None:
    """From here on this process ends a case that unpickles, starts programs or connects."""
    if os.getpid() in _forbidding:
        return
    _forbidding.append(os.getpid())

    def hook(event: str, arguments: tuple) -> None:
        if event in FORBIDDEN:
            raise Wrong(f"{event} {arguments}")

    sys.addaudithook(hook)


def _read(folder: Path, base: Base, *, with_checks: bool) -> dict:
    """Counts of one set read to the end; Wrong for what must not be."""
    try:
        source = open_source(folder, num_classes=base.num_classes)
    except InputError as error:
        _require_named(str(error), tuple(str(folder / name) for name in FILES) + (f"{folder}:",))
        return {"refused": 1}
    counts = {"total": len(source), "yielded": 0, "reported": 0}
    loader = Loader(
        source, batch_size=1, runtime=Runtime(), seed=0, num_steps=1, num_workers=0, image_size=base.image_size
    )
    for index, error in enumerate(_errors(source, loader, base, with_checks=with_checks)):
        if error is None:
            counts["yielded"] += 1
        else:
            counts["reported"] += 1
            key = int(source.keys[index])
            place = record_place(source.reader.path, key, source.reader.offset(key))
            _require_named(str(error), (f"{place}: ", f"{folder / 'train.crc'}: "))
    if counts["yielded"] + counts["reported"] != counts["total"]:
        raise Wrong(f"images are missing: {counts}")
    _read_labels(source, base, with_checks=with_checks)
    source.reader.close()
    return counts


def _errors(source: RecordSource, loader: Loader, base: Base, *, with_checks: bool) -> Iterator[InputError | None]:
    """For each image, read and decoded as in training, the error that reports it."""
    images_BHWC, put = loader.image_slots()
    for index in range(len(source)):
        try:
            sample = source.read(index)
            if not 0 <= sample.label < base.num_classes:
                raise Wrong(f"label {sample.label} of image {index}")
            original = base.images.get(int(source.keys[index]))
            if with_checks and original != (sample.payload, sample.label):
                raise Wrong(f"key {source.keys[index]} is not what was written, and its checks were silent")
            put(0, sample.payload, partial(source.describe, index))
            yield None
        except InputError as error:
            yield error


def _read_labels(source: RecordSource, base: Base, *, with_checks: bool) -> None:
    try:
        labels = source.reader.image_labels()
    except InputError as error:
        _require_named(str(error), (str(source.reader.path), str(source.reader.path.with_suffix(".crc"))))
        return
    if labels is not None and (labels.dtype, labels.shape) != (np.int64, (len(source),)):
        raise Wrong(f"labels {labels.dtype} {labels.shape} of {len(source)} images")
    if with_checks and labels.tolist() != [base.images[key][1] for key in source.keys.tolist()]:
        raise Wrong(f"labels {labels} are not what was written, and the checks were silent")


def _require_named(message: str, beginnings: tuple[str, ...]) -> None:
    if not message.startswith(beginnings) or not message.isprintable() or "; " not in message or len(message) > 1500:
        raise Wrong(f"does not say what, where and what to do, on one line: {message!r:.2000}")


def main() -> int:
    """Run them, and say in one line what came of them; exit code 1 for anything that must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="how many sets (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--only", type=int, help="run this one of them alone, to see it again")
    given = parser.parse_args()
    numbers = range(given.count) if given.only is None else [given.only]
    counts = fuzz(given.seed, numbers, jobs=given.jobs)
    for number, failure in counts.failures[:20]:
        print(f"--- python -m tests.fuzz.records --seed {given.seed} --only {number}\n{failure}")
    print(f"fuzz (seed {given.seed}): {counts}")
    return 1 if counts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
