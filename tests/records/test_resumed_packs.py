"""A pack that was killed, stopped or out of room goes on, and the set equals bit for bit one that was not disturbed."""

import csv
import fcntl
import json
import multiprocessing
import os
import re
import resource
import signal

import pytest

from recognition.errors import InputError
from recognition.records.encode import Encoder, Rejected
from recognition.records.layout import LayoutWriter
from recognition.records.listing import list_images
from recognition.records.packing import pack
from tests.pictures import jpeg, write_people
from tests.records.sets import files_of, images_of

PEOPLE = {"anna": 17, "bert": 1, "carl": 25, "dora": 4}
COUNT = sum(PEOPLE.values())
EVERY = 10
SET = {"identities.txt", "property", "train.crc", "train.idx", "train.rec"}
ASIDE = {"train.rec.partial", "train.idx.partial", "train.crc.partial", "train.rows.partial", "train.rec.journal"}


class Watched:
    """An encoder that remembers what it was given."""

    def __init__(self, settings="some", rejects=()):
        self.settings, self.rejects, self.seen = settings, rejects, []

    def __repr__(self):
        return self.settings

    def __call__(self, payload, where):
        self.seen.append(where())
        if where().endswith(tuple(self.rejects) or "\0"):
            return Rejected("no face", b"\xff\xd8")
        return Encoder()(payload, where)


def packed(people, out, prepare=None, **options):
    """Pack, with a point every ten images, and return what was told."""
    told = []
    pack(list_images(people), out, prepare=prepare or Watched(), images_to_a_point=EVERY, tell=told.append, **options)
    return told


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people", PEOPLE, suffix=".png")


@pytest.fixture
def undisturbed(people, tmp_path):
    packed(people, tmp_path / "undisturbed")
    assert set(os.listdir(tmp_path / "undisturbed")) == SET
    return files_of(tmp_path / "undisturbed")


def at_call(number, owner, name, act):
    """Have `act` done instead of the call of that number (from 1) of `owner.name`; returns the function as it was."""
    original, calls = getattr(owner, name), []

    def counted(*arguments, **named):
        calls.append(name)
        if len(calls) == number:
            act()
        return original(*arguments, **named)

    setattr(owner, name, counted)
    return original


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt():
    raise KeyboardInterrupt


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
    with pytest.raises(InputError, match="must be at least 1"):
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


def stopped_at(image, people, out, monkeypatch, prepare=None, **options):
    with monkeypatch.context() as patch:
        patch.setattr(LayoutWriter, "add", LayoutWriter.add)
        at_call(image, LayoutWriter, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            packed(people, out, prepare, **options)


@pytest.mark.parametrize("change", ["settings", "size", "time", "label", "path", "fewer"])
def test_other_inputs_are_packed_anew_from_the_first_that_differs(change, people, tmp_path, monkeypatch):
    out, settings = tmp_path / "out", "some"
    stopped_at(38, people, out, monkeypatch)
    first, kept = people / "carl" / "10.png", 20  # names sort as text: it is the third of carl's, the 21st of all
    match change:
        case "settings":
            settings, kept = "others", 0
        case "size":
            first.write_bytes(first.read_bytes() + b"tail")
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


def test_a_damaged_picture_ends_it_and_skip_bad_goes_on_from_there(people, tmp_path):
    out, bad = tmp_path / "out", people / "carl" / "10.png"
    good = bad.read_bytes()
    bad.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"carl/10.png: not a readable image.*; --skip-bad leaves such pictures out"):
        packed(people, out)
    again = Watched()
    told = packed(people, out, again, skip_bad=True)
    assert "goes on after the 20 images" in told[0]
    assert len(again.seen) == COUNT - 20
    header, *rows = csv.reader((out / "failures.csv").open())
    assert header == ["path", "label", "reason"]
    assert [(path, label, reason[:36]) for path, label, reason in rows] == [
        (str(bad), "2", "not a readable image (unknown format)"[:36])
    ]
    assert len(images_of(out)) == COUNT - 1
    bad.write_bytes(good)
    packed(people, out)
    assert len(images_of(out)) == COUNT
    assert not (out / "failures.csv").exists()


def test_points_behind_a_skipped_picture_do_for_skip_bad_alone(people, undisturbed, tmp_path, monkeypatch):
    bad = people / "anna" / "0.png"
    bad.write_bytes(b"no picture")
    packed(people, tmp_path / "whole", skip_bad=True)
    for out, options, prepared in [(tmp_path / "a", {"skip_bad": True}, COUNT - 20), (tmp_path / "b", {}, None)]:
        stopped_at(29, people, out, monkeypatch, skip_bad=True)
        again = Watched()
        if options:
            packed(people, out, again, **options)
            assert len(again.seen) == prepared
            assert files_of(out) == files_of(tmp_path / "whole")
        else:
            with pytest.raises(InputError, match=r"anna/0.png: not a readable image"):
                packed(people, out, again)


def test_what_prepare_rejects_is_listed_with_its_thumbnail_and_outlives_a_stop(people, tmp_path, monkeypatch):
    out, rejects = tmp_path / "out", ("anna/11.png", "bert/0.png", "dora/2.png")
    listing = list_images(people)
    stopped_at(38, people, out, monkeypatch, Watched(rejects=rejects))
    told = []
    options = {"images_to_a_point": EVERY, "tell": told.append}
    done = pack(listing, out, prepare=Watched(rejects=rejects), **options)
    assert "goes on after the 30 images" in told[0]
    assert [(failure.path, failure.label) for failure in done.failures] == [
        (str(people / name), label) for name, label in zip(rejects, (0, 1, 3))
    ]
    assert {failure.reason for failure in done.failures} == {"no face"}
    assert {failure.thumbnail for failure in done.failures} == {b"\xff\xd8"}
    assert (out / "failures.csv").read_text() == "path,label,reason\n" + "".join(
        f"{people / name},{label},no face\n" for name, label in zip(rejects, (0, 1, 3))
    )
    assert (done.num_images, done.num_classes) == (COUNT - 3, 4)
    assert [remark for remark in done.remarks if "1 of 4 identities have no image: bert" in remark]
    whole = pack(listing, tmp_path / "whole", prepare=Watched(rejects=rejects), **options)
    assert files_of(out) == files_of(tmp_path / "whole")
    assert [label for label, _ in images_of(out)] == [0] * 16 + [2] * 25 + [3] * 3
    assert whole.failures == done.failures


def test_missing_files_are_told_before_anything_is_packed(people, tmp_path):
    listing = list_images(people)
    (people / "carl" / "10.png").unlink()
    prepare = Watched()
    with pytest.raises(InputError, match=r"carl/10.png: is missing; restore"):
        pack(listing, tmp_path / "out", prepare=prepare)
    (people / "dora" / "0.png").unlink()
    with pytest.raises(InputError, match=rf"carl/10.png: is missing, as are 1 more of {COUNT} files"):
        pack(listing, tmp_path / "out", prepare=prepare)
    assert prepare.seen == []
    done = pack(listing, tmp_path / "out", prepare=prepare, skip_bad=True)
    assert [failure.reason[:23] for failure in done.failures] == ["cannot be read (No such"] * 2
    assert done.num_images == COUNT - 2


def test_not_one_picture_can_be_packed(tmp_path):
    people = write_people(tmp_path / "people", {"anna": 2})
    for path in people.glob("*/*"):
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"not one of 2 pictures can be packed; .*anna/0.jpg: not a readable"):
        packed(people, tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_makes_the_same_set(workers, people, undisturbed, tmp_path):
    packed(people, tmp_path / "out", workers=workers)
    assert files_of(tmp_path / "out") == undisturbed


def test_two_packs_never_write_into_one_folder(people, tmp_path):
    (tmp_path / "out").mkdir()
    with open(tmp_path / "out" / "train.rec.journal", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"train.rec.journal: another pack writes here now"):
            packed(people, tmp_path / "out")
    packed(people, tmp_path / "out")
    assert set(os.listdir(tmp_path / "out")) == SET


def test_an_image_of_another_size_is_no_picture_to_skip(people, tmp_path):
    (people / "carl" / "10.png").write_bytes(jpeg(0, 24))
    with pytest.raises(InputError, match=r"carl/10.png: is 24x24 pixels, the images before it are 16x16"):
        packed(people, tmp_path / "out", skip_bad=True)
    # Also where the images before it are those of an earlier call.
    with pytest.raises(InputError, match=r"carl/10.png: is 24x24 pixels, the images before it are 16x16"):
        packed(people, tmp_path / "out", skip_bad=True)
