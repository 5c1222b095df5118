"""How far a pack has come, on disk: a line for each point up to which its records are synced, so that it can go on.

A line names the inputs up to its point by a hash over their paths, labels, sizes and modification times and over the
settings. So a pack goes on at the last point whose inputs are still the same: pictures that were repaired, added or
removed since then cost what came after the first of them, and no more.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType

import numpy as np
from tqdm import tqdm

from recognition.atomic import hold, naming
from recognition.data.resuming import Position
from recognition.data.row_cache import MISSING, file_stats
from recognition.data.sources import FileSource
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.records.encode import Failure

VERSION = "arcscale pack 1"
_FILES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Point:
    """The first `done` inputs are in the records up to `position`, or are among `failures`; `size` is (H, W)."""

    done: int = 0
    position: Position = Position()
    size: tuple[int, int] | None = None
    failures: tuple[Failure, ...] = ()


class Inputs:
    """The files to pack as they are now; `digest` names the first of them."""

    def __init__(self, source: FileSource, settings: str) -> None:
        self._source = source
        self._empty = hashlib.sha256(f"{VERSION}\n{settings}\n".encode())
        self._hash, self._hashed = self._empty.copy(), 0
        starts = range(0, len(source), _FILES_AT_ONCE)
        blocks = map_in_order(lambda start: file_stats(source.paths[start : start + _FILES_AT_ONCE]), starts)
        bar = tqdm(blocks, "looking at the files", len(starts), unit_scale=_FILES_AT_ONCE, delay=1, disable=None)
        self.stats_N2 = np.concatenate(list(bar))

    def require_all(self) -> None:
        """InputError when files are missing: at once, and not hours later."""
        missing = np.flatnonzero(self.stats_N2[:, 0] == MISSING)
        if len(missing):
            others = f", as are {len(missing) - 1} more of {len(self.stats_N2)} files" if len(missing) > 1 else ""
            raise InputError(
                f"{self._source.paths[missing[0]]}: is missing{others}; restore what is missing, correct the list or "
                "--root, or give --skip-bad"
            )

    def digest(self, done: int) -> str:
        """Of the first `done` inputs; as `done` grows from call to call, each input is hashed once."""
        if done < self._hashed:
            self._hash, self._hashed = self._empty.copy(), 0
        source, new = self._source, slice(self._hashed, done)
        rows = zip(source.paths[new], source.labels()[new].tolist(), self.stats_N2[new].tolist())
        text = "".join(f"{path}\0{label} {size} {time_ns}\n" for path, label, (size, time_ns) in rows)
        self._hash.update(text.encode(errors="surrogateescape"))
        self._hashed = done
        return self._hash.hexdigest()


class Journal:
    """The journal at `path`, held by this process alone: InputError while another one has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made_folder = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")  # noqa: SIM115 - closed by close
        try:
            hold(self._file.fileno(), path)
        except InputError:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # a full disk fails again on the rest of a line
            self._file.close()

    def resume(self, inputs: Inputs, *, kept: Position, skip_bad: bool) -> Point:
        """The last point that `inputs`, and the `kept` files aside, still bear out; what the journal says more is cut.

        Without `skip_bad` no point will do that comes after a damaged picture.
        """
        best, best_end, failures = Point(), 0, ()
        lines = self._lines()
        for line, end in zip(lines, accumulate(map(len, lines))):
            try:
                point, digest = _parsed(line, failures)
            except (ValueError, TypeError, LookupError):
                break
            whole = all(size <= kept_size for size, kept_size in zip(point.position, kept))
            spoilt = not skip_bad and any(failure.damaged for failure in point.failures)
            if not whole or spoilt or inputs.digest(point.done) != digest:
                break
            best, best_end, failures = point, end, point.failures
        self._file.truncate(best_end)
        return best

    def append(self, point: Point, digest: str, known_failures: int) -> None:
        """Say that all up to `point` is on the disk; its failures after the first `known_failures` are new."""
        line = {
            "done": point.done,
            "digest": digest,
            "position": point.position,
            "size": point.size,
            "failures": [_as_row(failure) for failure in point.failures[known_failures:]],
        }
        with naming(self.path):
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    @property
    def is_empty(self) -> bool:
        """True where there is no point to go on from, with whatever inputs."""
        return not self._lines()

    def remove(self) -> None:
        """There is nothing to go on with; a folder that was made for the journal and holds nothing else goes too."""
        self.path.unlink(missing_ok=True)
        if self._made_folder:
            with contextlib.suppress(OSError):  # the set is in it
                self.path.parent.rmdir()

    def _lines(self) -> list[bytes]:
        """The whole lines; the last one may have been torn by a kill or a full disk."""
        self._file.seek(0)
        return [line for line in self._file.read().splitlines(keepends=True) if line.endswith(b"\n")]


def _as_row(failure: Failure) -> list:
    thumbnail = base64.b64encode(failure.thumbnail).decode()
    return [failure.path, failure.label, failure.reason, failure.damaged, thumbnail]


def _parsed(line: bytes, failures: tuple[Failure, ...]) -> tuple[Point, str]:
    """The point of a line, and its digest; `failures` are those of the lines before."""
    fields = json.loads(line)
    new = tuple(Failure(*row[:4], base64.b64decode(row[4])) for row in fields["failures"])
    size = fields["size"] and tuple(fields["size"])
    return Point(fields["done"], Position(*fields["position"]), size, failures + new), fields["digest"]
