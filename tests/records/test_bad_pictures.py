"""Pictures that cannot be packed: an error, or left out and listed, also by a pack that was stopped in between."""

import csv

import pytest

from recognition.errors import InputError
from recognition.records.listing import list_images
from recognition.records.packing import pack
from tests.pictures import jpeg, write_people
from tests.records.sets import files_of, images_of
from tests.records.stopped_packs import COUNT, EVERY, PEOPLE, Watched, packed, stopped_at


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people", PEOPLE, suffix=".png")


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
    assert [row[:2] for row in rows] == [[str(bad), "2"]]
    assert rows[0][2].startswith("not a readable image (unknown format); restore it")
    assert len(images_of(out)) == COUNT - 1
    bad.write_bytes(good)
    packed(people, out)
    assert len(images_of(out)) == COUNT
    assert not (out / "failures.csv").exists()


def test_points_behind_a_skipped_picture_do_for_skip_bad_alone(people, tmp_path, monkeypatch):
    bad = people / "anna" / "0.png"
    bad.write_bytes(b"no picture")
    packed(people, tmp_path / "whole", skip_bad=True)
    for out in ("a", "b"):
        stopped_at(29, people, tmp_path / out, monkeypatch, skip_bad=True)
    again = Watched()
    packed(people, tmp_path / "a", again, skip_bad=True)
    assert len(again.seen) == COUNT - 20
    assert files_of(tmp_path / "a") == files_of(tmp_path / "whole")
    with pytest.raises(InputError, match=r"anna/0.png: not a readable image"):
        packed(people, tmp_path / "b")


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
    (people / "dora" / "0.png").unlink()
    prepare = Watched()
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


def test_an_image_of_another_size_is_no_picture_to_skip(people, tmp_path):
    (people / "carl" / "10.png").write_bytes(jpeg(0, 24))
    with pytest.raises(InputError, match=r"carl/10.png: is 24x24 pixels, the images before it are 16x16"):
        packed(people, tmp_path / "out", skip_bad=True)
    # Also where the images before it are those of an earlier call.
    with pytest.raises(InputError, match=r"carl/10.png: is 24x24 pixels, the images before it are 16x16"):
        packed(people, tmp_path / "out", skip_bad=True)
