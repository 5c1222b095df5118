"""A pack that was killed, stopped or out of room goes on, and the set equals bit for bit one that was not disturbed."""

import errno
import fcntl
import json
import multiprocessing
import os
import re
import resource
import signal

import pytest

from recognition.errors import InputError
from recognition.records.encode import Rejected
from recognition.records.layout import LayoutWriter
from recognition.records.listing import list_images
from recognition.records.packing import pack
from tests.pictures import write_people
from tests.records.sets import files_of, images_of
from tests.records.stopped_packs import COUNT, EVERY, PEOPLE, Watched, at_call, interrupt, packed, stopped_at

SET = {"identities.txt", "property", "train.crc", "train.idx", "train.rec"}
ASIDE = {"train.rec.partial", "train.idx.partial", "train.crc.partial", "train.rows.partial", "train.rec.journal"}


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people", PEOPLE, suffix=".png")


@pytest.fixture
def undisturbed(people, tmp_path):
    packed(people, tmp_path / "undisturbed")
    assert set(os.listdir(tmp_path / "undisturbed")) == SET
    return files_of(tmp_path / "undisturbed")


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def no_room():
    raise OSError(errno.ENOSPC, "No space left on device")


def exit_code(work):
    """Of a forked process that does `work`: negative, the signal that ended it."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(30)
    return child.exitcode


def assert_goes_on(people, out, undisturbed, done):
    """The next call prepares what comes after the first `done` images, and leaves the same files as if nothing was."""
    again = Watched()
    told = packed(people, out, again)
    assert files_of(out) == undisturbed
    assert len(again.seen) == COUNT - done
    assert [line for line in told if f"goes on after the {done} images" in line] == told[: done > 0]


@pytest.mark.parametrize(("image", "done"), [(1, 0), (10, 0), (11, 10), (31, 30), (COUNT, 40)])
def test_killed_at_an_image(image, done, people, undisturbed, tmp_path):
    def work():
        at_call(image, LayoutWriter, "add", kill_self)
        packed(people, tmp_path / "out")

    assert exit_code(work) == -signal.SIGKILL
    assert set(os.listdir(tmp_path / "out")) == ASIDE
    assert_goes_on(people, tmp_path / "out", undisturbed, done)


def test_killed_at_every_sync_and_every_rename(people, undisturbed, tmp_path):
    """Four points of four files to sync; after them three files of the set, and those that describe it."""
    kills = 0
    for call in ("fsync", "replace"):
        for number in range(1, 100):
            out = tmp_path / f"{call}{number}"

            def work(out=out, call=call, number=number):
                at_call(number, os, call, kill_self)
                packed(people, out)

            if exit_code(work) == 0:
                break
            kills += 1
            begun = Watched()
            packed(people, out, begun)
            # Of the small files that describe the set, a kill may leave one aside, hidden.
            assert {name: data for name, data in files_of(out).items() if name[0] != "."} == undisturbed
            # Three files, then the line in the journal, which is there when it is about to be synced.
            if call == "fsync" and number <= 16:
                assert len(begun.seen) == COUNT - number // 4 * EVERY
    assert kills == 16 + 5 + 5


@pytest.mark.parametrize("number", range(1, 6))
def test_killed_while_it_replaces_a_set(number, people, undisturbed, tmp_path):
    """The new records never stand beside what described the old ones."""
    out = tmp_path / "out"
    old = write_people(tmp_path / "old", {"x": 1, "y": 1})
    (old / "y" / "bad.jpg").write_bytes(b"no picture")
    packed(old, out, skip_bad=True)
    before = files_of(out)
    assert {"failures.csv", "identities.txt", "property", "train.crc", "train.rec"} < set(before)

    def work():
        at_call(number, os, "replace", kill_self)
        packed(people, out)

    assert exit_code(work) == -signal.SIGKILL
    after = {name: data for name, data in files_of(out).items() if name in before}
    assert (after["train.rec"] == before["train.rec"]) == (number == 1)
    if number > 1:
        assert after == {name: undisturbed[name] for name in after}
    packed(people, out)
    assert {name: data for name, data in files_of(out).items() if name[0] != "."} == undisturbed


def test_killed_again_and_again(people, undisturbed, tmp_path):
    def work():
        at_call(EVERY + 3, LayoutWriter, "add", kill_self)
        packed(people, tmp_path / "out")

    ends = [exit_code(work) for _ in range(5)]
    assert ends == [-signal.SIGKILL] * 4 + [0]
    assert files_of(tmp_path / "out") == undisturbed


def test_ctrl_c_keeps_the_set_that_was_there_and_says_how_much_is_done(people, undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "undisturbed"
    (people / "bert" / "more.png").write_bytes((people / "anna" / "0.png").read_bytes())
    told = []
    with monkeypatch.context() as patch:
        patch.setattr(LayoutWriter, "add", LayoutWriter.add)
        at_call(25, LayoutWriter, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack(list_images(people), out, prepare=Watched(), images_to_a_point=EVERY, tell=told.append)
    assert told == [f"20 of {COUNT + 1} images are kept: the same command goes on from there"]
    assert {name: data for name, data in files_of(out).items() if name in SET} == undisturbed
    (people / "bert" / "more.png").unlink()
    # Up to the nineteenth image, which is the new one, all is as before.
    assert_goes_on(people, out, undisturbed, EVERY)


def test_a_stop_before_the_first_point_leaves_nothing(people, tmp_path, monkeypatch):
    monkeypatch.setattr(LayoutWriter, "add", LayoutWriter.add)
    at_call(EVERY - 1, LayoutWriter, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        packed(people, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="0 workers cannot pack; give at least 1"):
        packed(people, tmp_path / "mine", workers=0)
    assert os.listdir(tmp_path / "mine") == []


def test_slow_work_has_points_by_time_too(people, undisturbed, tmp_path, monkeypatch):
    """A thousand photos of which a face is sought take minutes: a stop must not cost them all."""
    options = {"images_to_a_point": 10**6, "seconds_to_a_point": 0.0}
    with monkeypatch.context() as patched:
        patched.setattr(LayoutWriter, "add", LayoutWriter.add)
        at_call(24, LayoutWriter, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack(list_images(people), tmp_path / "out", prepare=Watched(), tell=lambda line: None, **options)
    told = []
    pack(list_images(people), tmp_path / "out", prepare=Watched(), tell=told.append, **options)
    assert "goes on after the 23 images" in told[0]
    assert files_of(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("room", range(1, 9))
def test_a_full_disk_is_one_line_and_what_fits_is_kept(room, people, undisturbed, tmp_path):
    """Room in bytes for each file: up to what the largest one takes, less one byte."""
    errors = tmp_path / "errors"
    room = len(undisturbed["train.rec"]) * room // 8 - 1
    ends = [int(line.split(b"\t")[1]) for line in undisturbed["train.idx"].splitlines()[11:48:10]]

    def work():
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
        try:
            packed(people, tmp_path / "out")
        except OSError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            errors.write_text(f"{error.strerror}: {error.filename}")

    assert exit_code(work) == 0
    assert re.fullmatch(r"File too large: .*/train\.(rec|idx|rec\.journal)", errors.read_text())
    journal = tmp_path / "out" / "train.rec.journal"
    done = json.loads(journal.read_text().splitlines()[-1])["done"] if journal.exists() else 0
    assert done == EVERY * sum(end <= room for end in ends)
    assert_goes_on(people, tmp_path / "out", undisturbed, done)


@pytest.mark.parametrize("sync", [13, 14, 15, 16, 17, 18, 19])
def test_a_disk_that_is_full_at_the_very_end_leaves_the_set_that_was_there(sync, people, undisturbed, tmp_path):
    """Four points of four files each are synced before; the last three are those that get their names."""
    out, errors = tmp_path / "undisturbed", tmp_path / "errors"
    (people / "bert" / "more.png").write_bytes((people / "anna" / "0.png").read_bytes())

    def work():
        at_call(sync, os, "fsync", no_room)
        try:
            packed(people, out)
        except OSError as error:
            errors.write_text(f"{error.strerror}: {error.filename}")

    assert exit_code(work) == 0
    assert re.fullmatch(r"No space left on device: .*/train\.rec(\.journal)?", errors.read_text())
    assert {name: data for name, data in files_of(out).items() if name in SET} == undisturbed


@pytest.mark.parametrize("first", [False, True])
def test_a_journal_without_room_is_one_line_and_what_it_said_before_is_kept(first, people, tmp_path):
    """Pictures that are left out with a large thumbnail make its lines longer than the records."""
    left_out = "anna/0.png" if first else "carl/0.png"
    errors = tmp_path / "errors"

    class Rejecting(Watched):
        def __call__(self, payload, where):
            return (
                Rejected("no face", bytes(1 << 17)) if where().endswith(left_out) else super().__call__(payload, where)
            )

    def work():
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, most))
        told = []
        try:
            pack(list_images(people), tmp_path / "out", prepare=Rejecting(), images_to_a_point=EVERY, tell=told.append)
        except OSError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            errors.write_text(f"{error.strerror}: {error.filename}: {told}")

    assert exit_code(work) == 0
    told = [] if first else [f"10 of {COUNT} images are kept: the same command goes on from there"]
    assert errors.read_text() == f"File too large: {tmp_path / 'out' / 'train.rec.journal'}: {told}"
    assert not (tmp_path / "out").exists() if first else set(os.listdir(tmp_path / "out")) == ASIDE


@pytest.mark.parametrize("change", ["settings", "size", "time", "label", "path", "fewer"])
def test_other_inputs_are_packed_anew_from_the_first_that_differs(change, people, tmp_path, monkeypatch):
    out, settings = tmp_path / "out", "some"
    stopped_at(38, people, out, monkeypatch)
    first, kept = people / "carl" / "10.png", 20  # names sort as text: it is the third of carl's, the 21st of all
    match change:
        case "settings":
            settings, kept = "others", 0
        case "size":
            stat = first.stat()
            first.write_bytes(first.read_bytes() + b"tail")
            os.utime(first, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        case "time":
            os.utime(first, ns=(1, 1))
        case "label":
            write_people(people, {"bertha": 1}, suffix=".png")
            kept = 10
        case "path":
            first.rename(first.with_name("10a.png"))
        case "fewer":
            for path in [*(people / "carl").glob("*.png"), *(people / "anna").glob("1*.png")]:
                if path.parent.name == "anna" or path.name != "0.png":
                    path.unlink()
            kept = 0
    again = Watched(settings)
    told = packed(people, out, again)
    assert len(again.seen) == sum(1 for _ in people.glob("*/*.png")) - kept
    expected = f"goes on after the {kept} images" if kept else "starts anew, since other pictures or settings"
    assert expected in told[0]
    packed(people, tmp_path / "fresh", Watched(settings))
    assert files_of(out) == files_of(tmp_path / "fresh")


def test_a_picture_that_changes_hands_is_packed_anew(people, tmp_path, monkeypatch):
    """The 26th picture of a list becomes the last of the identity before it: no path, size, time or place changes."""
    lines = [f"{path}\t{int(number >= 25)}" for number, path in enumerate(sorted(people.glob("*/*.png")))]
    table = tmp_path / "faces.tsv"
    table.write_text("\n".join(["path\tlabel", *lines]))
    stopped_at(38, table, tmp_path / "out", monkeypatch)
    table.write_text("\n".join(["path\tlabel", *lines[:25], lines[25][:-1] + "0", *lines[26:]]))
    again = Watched()
    packed(table, tmp_path / "out", again)
    assert len(again.seen) == COUNT - 20
    assert [label for label, _ in images_of(tmp_path / "out")] == [0] * 26 + [1] * (COUNT - 26)


def test_a_point_of_other_inputs_is_forgotten_for_good(people, undisturbed, tmp_path, monkeypatch):
    """A picture is changed between two stops, and changed back: the first stop's point behind it says nothing now."""
    out, picture = tmp_path / "out", people / "carl" / "10.png"
    good, stat = picture.read_bytes(), picture.stat()
    stopped_at(38, people, out, monkeypatch)
    picture.write_bytes((people / "dora" / "0.png").read_bytes())
    stopped_at(18, people, out, monkeypatch)  # 20 were kept: after the 38th, too
    assert len((out / "train.rec.journal").read_bytes().splitlines()) == 3
    picture.write_bytes(good)
    os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert_goes_on(people, out, undisturbed, 20)


def test_points_need_not_lie_at_the_same_images_each_time(people, undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "out"
    stopped_at(38, people, out, monkeypatch)
    first = people / "carl" / "10.png"
    os.utime(first, ns=(1, 1))  # the point after 30 images is none any more, and its inputs were looked at
    stopped_at(12, people, out, monkeypatch, images_to_a_point=7)
    assert_goes_on(people, out, undisturbed, 28)


@pytest.mark.parametrize("damage", ["rec", "idx", "rows", "torn line", "nonsense"])
def test_files_aside_that_are_cut_short_are_not_gone_on_with(damage, people, undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "out"
    stopped_at(38, people, out, monkeypatch)
    if damage in ("torn line", "nonsense"):
        journal = out / "train.rec.journal"
        lines = journal.read_bytes().splitlines(keepends=True)
        assert len(lines) == 3
        journal.write_bytes(lines[0] + lines[1] + (lines[2][:-1] if damage == "torn line" else b"{}\n"))
    else:
        path = out / f"train.{damage}.partial"
        second = json.loads((out / "train.rec.journal").read_text().splitlines()[1])
        os.truncate(path, second["position"][("rec", "idx", "rows").index(damage)] + 1)
    assert_goes_on(people, out, undisturbed, 20)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_makes_the_same_set(workers, people, undisturbed, tmp_path):
    prepare = Watched()
    packed(people, tmp_path / "out", prepare, workers=workers)
    assert files_of(tmp_path / "out") == undisturbed
    assert len(prepare.threads) <= workers


def test_no_workers_are_too_few(people, tmp_path):
    with pytest.raises(InputError, match="0 workers cannot pack; give at least 1"):
        packed(people, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_two_packs_never_write_into_one_folder(people, tmp_path):
    (tmp_path / "out").mkdir()
    with open(tmp_path / "out" / "train.rec.journal", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"train.rec.journal: another process writes here now"):
            packed(people, tmp_path / "out")
    packed(people, tmp_path / "out")
    assert set(os.listdir(tmp_path / "out")) == SET
