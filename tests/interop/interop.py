"""Prove, with Apache MXNet 1.9.1 itself, that record files are interchangeable in both directions.

    python tests/interop/interop.py

Makes `.venv-mxnet` beside the checkout's own environment (once), then: MXNet reads what we wrote, writes it again, and
both files must be the same bytes; we read what MXNet wrote. Ends with exit code 1 at the first difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import simplejpeg

from recognition.command import run_command
from recognition.data.record_format import MAGIC_BYTES
from recognition.data.recordio import RecordReader, RecordWriter
from recognition.errors import InputError
from recognition.records.encode import Encoder
from recognition.records.packing import pack_folder
from recognition.records.pairing import encode_pairs, make_pairs
from recognition.verification.pairs import write_pairs

HERE = Path(__file__).resolve().parent
VENV = HERE.parents[1] / ".venv-mxnet"
PYTHONS = ("3.11", "3.10", "3.9", "3.8")
CHECK = "import mxnet, numpy; print(mxnet.__version__, numpy.__version__)"
WANTED = "1.9.1 1.23.5"


def main() -> None:
    """Run the whole proof and say what was proven."""
    python = mxnet_python()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="arcscale-interop-") as scratch:
        proven = prove_mxnet_reads_ours(python, Path(scratch) / "ours")
        proven += prove_we_read_mxnet(python, Path(scratch) / "theirs")
        proven += prove_packed_sets(python, Path(scratch) / "packed")
    for line in proven:
        print(f"proven: {line}")
    print(f"record files are interchangeable with MXNet 1.9.1 ({time.perf_counter() - started:.0f} s)")


# --- MXNet's environment ----------------------------------------------------------------------------------------------


def mxnet_python() -> Path:
    """Interpreter of an environment with MXNet, made when it is not there or does not work."""
    python = VENV / "bin" / "python"
    if python.exists() and output_of(python, "-c", CHECK) == WANTED:
        return python
    base = find_base_python()
    print(f"making {VENV.name} with {base}: MXNet 1.9.1 and numpy 1.23.5, about 70 MB", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([base, "-m", "venv", VENV], check=True)
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        HERE / "requirements.txt",
    ]
    if subprocess.run(install).returncode:
        raise InputError(
            f"pip could not install MXNet into {VENV} (its message is above); check the network, run again"
        )
    found = subprocess.run([python, "-c", CHECK], capture_output=True, text=True)
    if found.stdout.strip() != WANTED:
        reason = (found.stderr.strip().splitlines() or [f"got {found.stdout.strip()}, not {WANTED}"])[-1]
        raise InputError(f"MXNet was installed and cannot be imported: {reason}; on Debian: apt-get install libgomp1")
    return python


def find_base_python() -> Path:
    """A Python for which numpy 1.23 has wheels: this one, one on the PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [Path(sys.executable)]
    for version in PYTHONS:
        on_path = shutil.which(f"python{version}")
        candidates += [Path(on_path)] if on_path else []
        candidates += sorted(pyenv.glob(f"{version}.*/bin/python{version}"))
    for candidate in candidates:
        # Asked, not guessed from the name: pyenv leaves stubs on the PATH that only print a complaint.
        if output_of(candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])") in PYTHONS:
            return candidate
    raise InputError(
        f"MXNet 1.9.1 needs numpy below 1.24, which exists for Python {PYTHONS[-1]} to {PYTHONS[0]}; none of these is "
        f"here (this is {sys.version.split()[0]}); install one, for example python3.11, and run again"
    )


def output_of(python: Path, *arguments: str) -> str | None:
    """What a command prints, stripped; None when it fails."""
    try:
        done = subprocess.run([python, *arguments], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def ask_mxnet(python: Path, *arguments: str | Path) -> dict | list:
    """Result of mxnet_side.py; its complaint ends the proof."""
    command = [python, "-W", "ignore", HERE / "mxnet_side.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"MXNet failed at {arguments[0]}:\n{done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


# --- the proofs -------------------------------------------------------------------------------------------------------


def prove_mxnet_reads_ours(python: Path, folder: Path) -> list[str]:
    """MXNet reads each of our sets as it was meant, and writes the very same bytes itself."""
    written = {name: write_set(folder / name, records) for name, records in our_sets().items()}
    read = ask_mxnet(python, "read", *(folder / name for name in written))
    proven = []
    for name, expected in written.items():
        expect(read[name], expected, f"MXNet reads our {name}")
        for file in ("train.rec", "train.idx"):
            same = (folder / name / file).read_bytes() == (folder / name / "again" / file).read_bytes()
            expect(same, True, f"MXNet writes our {name}/{file} with the same bytes")
        size = (folder / name / "train.rec").stat().st_size
        proven.append(f"MXNet reads our {name} ({len(expected)} records, {size} bytes) and writes the same bytes")
    return proven


def our_sets() -> dict[str, list[tuple]]:
    """Rows (key, payload, labels, id, id2) of every layout."""
    rng = np.random.default_rng(11)

    def payload(most: int = 20) -> bytes:
        pieces = [MAGIC_BYTES, MAGIC_BYTES[1:], bytes(3), rng.bytes(40)]
        return b"".join(pieces[i] for i in rng.integers(0, 4, rng.integers(0, most)))

    images = [(key, b"\xff\xd8" + payload(), key % 5, key, 0) for key in range(1, 41)]
    identities = [(41 + label, b"", [1, 41], 41 + label, 0) for label in range(5)]
    edges = [b"", b"a", MAGIC_BYTES, MAGIC_BYTES * 3, b"abc" + MAGIC_BYTES, b"abcd" + MAGIC_BYTES, MAGIC_BYTES + b"x"]
    big_labels = [(1 << 24) - 1, 1 << 24, (1 << 24) + 1, 17_091_657, 42_474_557]
    return {
        "insightface": [(0, b"", [41, 46], 0, 0), *images, *identities],
        "im2rec": [(key, payload(), key % 7, key, 0) for key in range(60)],
        "vector_label": [(key, payload(), [key % 3, 0.5, -2.0], key, 0) for key in range(40)],
        "multipart": [
            (key, part, key, key, 0) for key, part in enumerate([*edges, *(payload(200) for _ in range(200))])
        ],
        "any_key": [(key, payload(), 1, key, 2) for key in (9, 4, 10**12, 0, 77)],
        "large": [(0, bytes(8 << 20), 0, 0, 0), (1, MAGIC_BYTES * (1 << 18), 1, 1, 0), (2, b"end", 2, 2, 0)],
        "large_labels": [(key, b"x", label, key, 0) for key, label in enumerate(big_labels)],
    }


def write_set(folder: Path, records: list[tuple]) -> list[list]:
    """Write a set with our writer; returns what MXNet must find in it, sorted by key."""
    rows = []
    with RecordWriter(folder / "train.rec") as writer:
        for key, payload, labels, id_, id2 in records:
            writer.write(key, payload, labels, id_, id2)
            flag, first = (0, labels) if np.ndim(labels) == 0 else (len(labels), labels[0])
            as_float32 = [float(np.float32(label)) for label in np.atleast_1d(labels)]
            exact = first if first >= 1 << 24 else id2
            rows.append([key, flag, as_float32, id_, exact, len(payload), hashlib.sha256(payload).hexdigest()])
    return sorted(rows)


def prove_we_read_mxnet(python: Path, folder: Path) -> list[str]:
    """We read each set of MXNet's by its index, and the same without the index."""
    proven = []
    for name, expected in ask_mxnet(python, "write", folder).items():
        for with_index in (True, False):
            if not with_index:
                (folder / name / "train.idx").unlink()
            with RecordReader(folder / name / "train.rec") as reader:
                found = [
                    [record.key, record.labels.tolist(), record.id, record.id2, len(record.payload),
                     hashlib.sha256(record.payload).hexdigest()]
                    for record in reader
                ]  # fmt: skip
            without_flag = [[key, *rest] for key, _, *rest in expected]
            expect(found, without_flag, f"we read MXNet's {name}{'' if with_index else ' without its index'}")
        proven.append(f"we read MXNet's {name} ({len(expected)} records), with its index and without")
    return proven


def prove_packed_sets(python: Path, folder: Path) -> list[str]:
    """MXNet trains on what `pack` makes and opens what `pairs` makes: same labels, same pixels."""
    rng, people, pictures_each = np.random.default_rng(5), 6, 7
    images = []
    for label in range(people):
        (folder / "people" / f"person{label}").mkdir(parents=True)
        for number in range(pictures_each):
            jpeg = simplejpeg.encode_jpeg(rng.integers(0, 256, (14, 14, 3), np.uint8).repeat(8, 0).repeat(8, 1), 95)
            images.append(pixels_of(jpeg))
            (folder / "people" / f"person{label}" / f"{number}.jpg").write_bytes(jpeg)
    pack_folder(folder / "people", folder / "set")
    # What must be in the set follows from the folder just made; our own reader has no say in it.
    rows = [[key, (key - 1) // pictures_each, *image] for key, image in enumerate(images, start=1)]
    firsts = range(1, len(rows) + 1, pictures_each)
    ranges = [[len(rows) + 1 + label, first, first + pictures_each] for label, first in enumerate(firsts)]
    found = ask_mxnet(python, "train", folder / "set")
    expect(found["images"], rows, "MXNet trains on a packed folder")
    expect(found["identities"], ranges, "MXNet finds the range of each identity's images in a packed folder")

    pairs, issame = make_pairs(folder / "people", num_pairs=40)
    encoded = encode_pairs(pairs, issame, Encoder()).images
    write_pairs(folder / "people.bin", encoded, issame)
    expected = {"sums": [pixels_of(jpeg)[1] for jpeg in encoded], "issame": issame}
    expect(ask_mxnet(python, "pairs", folder / "people.bin"), expected, "insightface opens our .bin")
    return [
        f"arcface_torch's way of reading finds {len(rows)} images, labels and pixels in a packed folder",
        f"insightface's way of reading finds the ranges of {len(ranges)} identities in a packed folder",
        f"insightface's way of reading finds {len(issame)} pairs and their pixels in our .bin",
    ]


def pixels_of(jpeg: bytes | memoryview) -> tuple[list[int], int]:
    """(shape, sum) of the decoded image."""
    pixels = simplejpeg.decode_jpeg(jpeg)
    return list(pixels.shape), int(pixels.sum(dtype=np.int64))


def expect(found: object, wanted: object, claim: str) -> None:
    """RuntimeError, naming the first difference, unless both are equal."""
    if found == wanted:
        return
    if isinstance(found, list) and isinstance(wanted, list):
        differing = [(a, b) for a, b in zip(found, wanted) if a != b]
        found, wanted = differing[0] if differing else (f"{len(found)} rows", f"{len(wanted)} rows")
    raise RuntimeError(f"NOT proven: {claim}: found {str(found)[:300]}, expected {str(wanted)[:300]}")


if __name__ == "__main__":
    run_command(main)
