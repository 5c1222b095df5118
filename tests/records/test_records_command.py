"""launch/records.py as a user runs it: output, exit codes, one-line errors, and Ctrl-C at any moment."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from launch.records import COMMANDS
from recognition.records.packing import pack_folder
from tests.commands import launch
from tests.conftest import ROOT
from tests.pictures import write_people

PEOPLE = {"id0": 4, "id1": 4, "id2": 4}


def records(*arguments, code: int = 0) -> str:
    """Standard output of the command, or its error output when `code` is not 0."""
    done = launch("records.py", *arguments, timeout_s=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


def test_the_whole_way(tmp_path):
    people, out = write_people(tmp_path / "people", PEOPLE, size=24, suffix=".png"), tmp_path / "set"
    assert "packed 12 images of 3 identities" in records("pack", people, out, "--image-size", "16", "--fit", "crop")
    assert sorted(os.listdir(out)) == ["identities.txt", "property", "train.crc", "train.idx", "train.rec"]
    assert "sound: every record" in records("verify", out)
    assert "images in each: 4 / 4 / 4" in records("stats", out / "train.rec")
    assert "unpacked 12 images" in records("unpack", out, tmp_path / "again")
    first = records("pairs", people, tmp_path / "a.bin", "--num-pairs", "20", "--image-size", "16")
    assert "wrote 20 pairs, 10 of one person" in first
    assert "note: the pictures are 16x16, published networks take 112x112" in first
    (tmp_path / "pairs.csv").write_text("id0/0.png,id0/1.png,1\nid0/0.png,id1/1.png,0\n")
    assert "wrote 2 pairs" in records("pairs", people, tmp_path / "b.bin", "--list", tmp_path / "pairs.csv")


def test_a_list_packs_too(tmp_path):
    write_people(tmp_path / "people", PEOPLE)
    (tmp_path / "faces.lst").write_text("0\t1\tpeople/id1/0.jpg\n1\t0\tpeople/id0/0.jpg\n")
    assert "packed 2 images of 2 identities" in records("pack", tmp_path / "faces.lst", tmp_path / "set")


def test_sets_from_sets(tmp_path):
    people, one = write_people(tmp_path / "people", PEOPLE), tmp_path / "one"
    (people / "id1" / "9.jpg").write_text("no image")
    left_out = records("pack", people, one, "--skip-bad", "--workers", "2")
    assert "packed 12 images of 3 identities" in left_out
    assert "note: 1 pictures were left out" in left_out
    assert "failures.html shows them" in left_out
    shuffled = records("shuffle", one, tmp_path / "two", "--seed", "3", "--memory", "1")
    assert "shuffled 12 images of 3 identities" in shuffled
    same = ["--identities", "by-name", "--drop-duplicates"]
    merged = records("merge", one, tmp_path / "two", tmp_path / "three", *same)
    assert "merged 12 images of 3 identities" in merged
    assert "note: 12 images have the bytes of an earlier one, 0 of them under another identity" in merged
    (tmp_path / "map.csv").write_text("set,label,name\none,0,a\none,1,b\none,2,\n")
    assert "8 images of 2" in records("merge", one, tmp_path / "four", "--map", tmp_path / "map.csv")
    split = records("split", tmp_path / "three", tmp_path / "five", "--identities", "1")
    assert "wrote 8 images of 2 identities into" in split
    assert "wrote 4 images of 1 identities into" in split
    records("unpack", tmp_path / "three", tmp_path / "again", "--csv")
    table = tmp_path / "again" / "images.csv"
    table.rename(tmp_path / "moved.csv")
    records("pack", tmp_path / "moved.csv", tmp_path / "six", "--root", tmp_path / "again")
    assert (tmp_path / "six" / "train.rec").read_bytes() == (tmp_path / "three" / "train.rec").read_bytes()


@pytest.mark.parametrize("command", [module.__name__.rpartition(".")[2] for module in COMMANDS])
def test_help(command):
    assert "usage: python launch/records.py " + command in records(command, "-h")


def test_errors_are_one_line_and_exit_2(tmp_path):
    people = write_people(tmp_path / "people", PEOPLE)
    (tmp_path / "empty").mkdir()
    (people / "id1" / "9.jpg").write_text("no image")
    out = tmp_path / "out"
    for arguments, message in [
        (("pack", tmp_path / "empty", out), "empty"),
        (("pack", tmp_path / "nowhere.lst", out), "nowhere.lst"),
        (("pack", people, out), "id1/9.jpg: not a readable image (unknown format); restore it from the original"),
        (("verify", tmp_path / "nowhere"), "cannot be read (No such file or directory)"),
        (("unpack", people, tmp_path / "new"), "train.rec: cannot be read"),
        (("verify", people), "give a .rec file, or the folder with train.rec (launch/records.py pack makes one"),
        (("pack", people / "id1", out), "0.jpg the first, lie in no folder per identity"),
        (("pairs", people, tmp_path / "a.bin", "--num-pairs", "7"), "take a multiple of 20"),
        (("pairs", people, tmp_path / "a"), "a: ends in no .bin"),
        (("pairs", tmp_path / "nowhere", tmp_path / "a.bin"), "nowhere: is not a folder"),
    ]:
        lines = records(*arguments, code=2).strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert message in lines[0]
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("train.rec"))


def test_verify_of_a_damaged_set_exits_2_and_lists_the_damage(tmp_path):
    records("pack", write_people(tmp_path / "people", PEOPLE), tmp_path / "set")
    rec = tmp_path / "set" / "train.rec"
    data = bytearray(rec.read_bytes())
    data[data.index(b"\xff\xdb") : data.index(b"\xff\xdb") + 20] = bytes(20)  # the first image's quantisation table
    rec.write_bytes(data)
    error = records("verify", tmp_path / "set", code=2)
    assert "problems (listed above); re-copy the set" in error
    rec.write_bytes(data[:-100])
    assert "points past the end" in records("stats", tmp_path / "set", code=2)


def test_verify_and_stats_write_what_they_found(tmp_path):
    records("pack", write_people(tmp_path / "people", PEOPLE), tmp_path / "set")
    (tmp_path / "set" / "train.crc").unlink()
    before = sorted(os.listdir(tmp_path / "set"))
    shown = records("verify", tmp_path / "set", "--out", tmp_path / "found", "--json", tmp_path / "verify.json")
    assert "faces: too few pictures" in shown
    assert sorted(os.listdir(tmp_path / "found")) == ["duplicates.csv", "mean_face.png"]
    assert json.loads((tmp_path / "verify.json").read_text())["images"] == 12
    shown = records("stats", tmp_path / "set", "--out", tmp_path / "page", "--json", tmp_path / "stats.json")
    assert f"page: {tmp_path}/page/index.html" in shown
    assert (tmp_path / "stats.json").read_text() == (tmp_path / "page" / "stats.json").read_text()
    assert sorted(os.listdir(tmp_path / "set")) == before
    shown = records("verify", tmp_path / "set", "--write-checks")
    assert f"checksums of this set: {tmp_path}/set/train.crc" in shown
    assert "checksums: train.crc" in records("stats", tmp_path / "set")


def test_checks_are_not_written_of_a_damaged_set_but_what_was_found_is(tmp_path):
    rec = pack_folder(write_people(tmp_path / "people", PEOPLE), tmp_path / "set").path
    rec.with_suffix(".crc").unlink()
    rec.write_bytes(rec.read_bytes() + b"tail of a longer file")
    records("verify", tmp_path / "set", "--write-checks", "--json", tmp_path / "found.json", code=2)
    assert not rec.with_suffix(".crc").exists()
    assert json.loads((tmp_path / "found.json").read_text())["num_problems"] == 1


def test_pairs_of_a_protocol(tmp_path):
    people = tmp_path / "calfw" / "aligned images"
    write_people(people.parent, {people.name: 40})
    lines = [f"{number}.jpg {number // 4 + 1}" for number in range(40)]
    lines += [f"{(number * 3) % 40}.jpg 0" for number in range(40)]
    (tmp_path / "calfw" / "pairs_CALFW.txt").write_text("\n".join(lines))
    arguments = ("pairs", tmp_path / "calfw", tmp_path / "calfw.bin", "--protocol", "calfw")
    assert "leave it out" in records(*arguments, "--num-pairs", "20", code=2)
    (people / "39.jpg").unlink()
    error = records(*arguments, code=2)
    assert "1 pictures of 2 pairs cannot be used, first " in error
    assert not (tmp_path / "calfw.bin").exists()
    shown = records(*arguments, "--skip-bad")
    assert "wrote 38 pairs, 19 of one person" in shown
    assert "note: 2 pairs were left out, so folds and figures are not those of the list:" in shown
    assert "39.jpg: the file is missing" in shown


@pytest.mark.parametrize("command", ["pack", "unpack", "pairs", "verify", "stats"])
def test_ctrl_c_leaves_what_was_there(command, tmp_path):
    people = write_people(tmp_path / "people", {f"id{person}": 400 for person in range(4)}, size=96)
    of_a_set = command in ("unpack", "verify", "stats")
    if of_a_set:
        records("pack", people, tmp_path / "set")
    source = tmp_path / "set" if of_a_set else people
    target = tmp_path / "out" / ("a.bin" if command == "pairs" else "")
    arguments = [source, target] + ([] if of_a_set else ["--image-size", "300"])
    if command in ("verify", "stats"):
        arguments[1:] = ["--out", target, "--json", target / "found.json"]
    (tmp_path / "out").mkdir()
    running = subprocess.Popen(
        [sys.executable, ROOT / "launch" / "records.py", command, *arguments],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # so that a second thread means: encoding has begun
        stderr=subprocess.PIPE,
        text=True,
    )
    begun = time.monotonic()
    # Interrupted once it is at work: files aside, or threads that encode or decode.
    while running.poll() is None and not list(tmp_path.rglob("*.partial")) and time.monotonic() - begun < 30:
        if command in ("pairs", "verify", "stats") and len(os.listdir(f"/proc/{running.pid}/task")) > 1:
            break
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    error = running.communicate(timeout=30)[1]
    assert running.returncode == 130, error
    assert error.strip().splitlines()[-1].startswith("stopped: interrupted")
    assert "Traceback" not in error
    left = os.listdir(tmp_path / "out")
    if command == "pack" and left:  # it has come as far as a point that it can go on from, under no final name
        assert all(name.endswith((".journal", ".partial")) for name in left)
    else:
        assert left == []
        assert not list(tmp_path.rglob("*.partial"))
