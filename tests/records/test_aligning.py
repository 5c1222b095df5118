"""Folders of photos -> aligned faces and record sets of them, and the list of the photos that have none."""

import csv
import io
import os
import re

import numpy as np
import pytest
from PIL import Image

from recognition.data.recordio import RecordReader
from recognition.errors import InputError
from recognition.faces.photos import Aligner
from recognition.records.aligning import FaceEncoder, align_folder
from recognition.records.encode import Failure
from recognition.records.failures import MOST_SHOWN, counts_of, write_failures
from recognition.records.listing import list_folder
from recognition.records.packing import pack
from recognition.records.verifying import verify
from tests.faces.red_faces import RedFaces, photo_of
from tests.pictures import encoded, pil_pixels, smooth

FACE, FAINT, SMALL = (50, 40, 120, 90), (50, 40, 120, 45), (50, 40, 20, 90)


def encoder(quality=95, **options) -> FaceEncoder:
    return FaceEncoder(Aligner(RedFaces(), **options), quality)


@pytest.fixture
def photos(tmp_path):
    """Three people: anna has four good photos, bert two of five, carl none."""
    good = photo_of(320, 240, FACE)
    files = {
        "anna/1.jpg": encoded(good),
        "anna/1.png": encoded(good, "PNG"),
        "anna/trip/2.JPEG": encoded(good),
        "anna/trip/3.webp": encoded(good, "WEBP"),
        "bert/1.jpg": encoded(photo_of(320, 240)),
        "bert/2.jpg": encoded(good),
        "bert/3.jpg": b"no picture",
        "bert/4.jpg": encoded(photo_of(320, 240, FAINT), "PNG"),
        "bert/5.png": encoded(photo_of(320, 240, FACE, (200, 40, 110, 90)), "PNG"),
        "carl/1.png": encoded(photo_of(320, 240, SMALL), "PNG"),
        "carl/notes.txt": b"a file that is no photo",
    }
    for name, content in files.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "photos"


def files_below(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def failures_in(folder) -> dict[str, str]:
    """Path -> reason, from failures.csv."""
    with open(folder / "failures.csv", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


EXPECTED = ["anna/1.jpg", "anna/1.png.jpg", "anna/trip/2.JPEG", "anna/trip/3.webp.jpg", "bert/2.jpg"]
REASONS = {
    "bert/1.jpg": "no face",
    "bert/3.jpg": "unreadable",
    "bert/4.jpg": "low score",
    "bert/5.png": "several faces",
    "carl/1.png": "too small",
}


# --- records.py align -------------------------------------------------------------------------------------------------


def test_the_folder_of_faces_has_the_photos_names(photos, tmp_path):
    done = align_folder(photos, tmp_path / "out", encoder(choice="only"))
    assert files_below(tmp_path / "out") == [*EXPECTED, "failures.csv", "failures.html"]
    assert (done.num_images, done.num_classes) == (5, 2)
    assert done.remarks[-1] == "1 identities have no photo left, first carl"
    assert "notes.txt" in done.remarks[0]
    expected = Aligner(RedFaces())((photos / "anna" / "1.png").read_bytes(), lambda: "").crop_SSC
    found = pil_pixels((tmp_path / "out" / "anna" / "1.png.jpg").read_bytes())
    assert np.abs(found.astype(int) - expected).mean() < 3


def test_photos_without_a_face_are_listed_with_the_reason(photos, tmp_path):
    done = align_folder(photos, tmp_path / "out", encoder(choice="only"))
    listed = failures_in(tmp_path / "out")
    assert {os.path.relpath(path, photos): reason.partition(": ")[0] for path, reason in listed.items()} == REASONS
    assert {failure.path: failure.reason for failure in done.failures} == listed
    assert listed[str(photos / "bert" / "4.jpg")] == "low score: best score 0.45, 0.6 wanted"
    assert [failure.label for failure in done.failures] == [1, 1, 1, 1, 2]


def test_a_photo_that_cannot_be_opened_is_listed_too(photos, tmp_path):
    (photos / "anna" / "0.jpg").symlink_to(photos / "gone.jpg")
    (photos / "anna" / "00.jpg").write_bytes(b"no picture")
    done = align_folder(photos, tmp_path / "out", encoder())
    assert done.failures[0].damaged
    listed = failures_in(tmp_path / "out")
    assert listed[str(photos / "anna" / "0.jpg")].startswith("cannot be read")
    assert listed[str(photos / "anna" / "00.jpg")].startswith("unreadable: not a readable image")


def test_where_every_photo_has_a_face_nothing_is_listed(photos, tmp_path):
    for name in REASONS:
        (photos / name).write_bytes(encoded(photo_of(320, 240, FACE)))
    assert align_folder(photos, tmp_path / "out", encoder()).failures == ()
    assert not list((tmp_path / "out").glob("failures*"))


def test_no_face_at_all_is_an_error_and_the_lists_are_there(photos, tmp_path):
    with pytest.raises(
        InputError, match=r"no face could be aligned \(7 too small, 1 no face, 1 unreadable, 1 low score\)"
    ):
        align_folder(photos, tmp_path / "out", encoder(min_size=500))
    assert files_below(tmp_path / "out") == ["failures.csv", "failures.html"]


def test_a_folder_that_is_there_is_not_written_into(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.jpg").write_text("mine")
    with pytest.raises(InputError, match="already exists"):
        align_folder(photos, tmp_path / "out", encoder())
    assert files_below(tmp_path / "out") == ["mine.jpg"]


def test_two_photos_never_become_one_file(photos, tmp_path):
    (photos / "anna" / "1.png.jpg").write_bytes((photos / "anna" / "1.jpg").read_bytes())
    with pytest.raises(FileExistsError):
        align_folder(photos, tmp_path / "out", encoder())
    assert not (tmp_path / "out").exists()


# --- pack --align -----------------------------------------------------------------------------------------------------


def test_packed_photos_are_a_sound_set_of_aligned_faces(photos, tmp_path):
    packed = pack(list_folder(photos), tmp_path / "set", prepare=encoder(choice="only"))
    assert (packed.num_images, packed.num_classes) == (5, 3)
    align_folder(photos, tmp_path / "faces", encoder(choice="only"))
    with RecordReader(tmp_path / "set" / "train.rec") as reader:
        records = [reader.read(key) for key in reader.image_keys]
    assert [record.label for record in records] == [0, 0, 0, 0, 1]
    assert [bytes(record.payload) for record in records] == [(tmp_path / "faces" / n).read_bytes() for n in EXPECTED]
    assert failures_in(tmp_path / "set") == failures_in(tmp_path / "faces")
    assert (tmp_path / "set" / "failures.html").is_file()
    assert (tmp_path / "set" / "property").read_text() == "3,112,112"
    assert verify(tmp_path / "set" / "train.rec").num_problems == 0


def test_lists_of_an_earlier_pack_go(photos, tmp_path):
    pack(list_folder(photos), tmp_path / "set", prepare=encoder(choice="only"))
    for name in REASONS:
        (photos / name).write_bytes(encoded(photo_of(320, 240, FACE)))
    pack(list_folder(photos), tmp_path / "set", prepare=encoder(choice="only"))
    assert not list((tmp_path / "set").glob("failures*"))


@pytest.mark.parametrize(
    "options",
    [{"choice": "only"}, {"min_score": 0.7}, {"min_size": 40}, {"size": 224}, {"antialias": False}, {"quality": 90}],
    ids=str,
)
def test_each_setting_is_in_the_name_by_which_a_pack_goes_on(options):
    assert repr(encoder(**options)) != repr(encoder())
    assert repr(encoder(**options)) == repr(encoder(**options))


def test_the_name_stays_when_photos_were_rejected():
    one = encoder()
    before = repr(one)
    one(encoded(photo_of(320, 240)), lambda: "")
    assert repr(one) == before


def test_thumbnails_end_where_the_page_does():
    one, empty = encoder(), encoded(photo_of(64, 64))
    pictures = [one(empty, lambda: "").thumbnail for _ in range(MOST_SHOWN + 3)]
    assert [bool(picture) for picture in pictures] == [True] * MOST_SHOWN + [False] * 3
    assert one(b"", lambda: "here").thumbnail == b""
    assert one(encoded(photo_of(320, 240, FAINT)), lambda: "").thumbnail  # counted apart


def test_quality_is_that_of_the_jpeg():
    """Pillow's JPEGs of one quality have the same tables of quantisation."""
    for quality in (30, 95):
        jpeg = encoder(quality)(encoded(photo_of(320, 240, FACE)), lambda: "").jpeg
        tables = [Image.open(io.BytesIO(data)).quantization for data in (jpeg, encoded(smooth(0), quality=quality))]
        assert tables[0] == tables[1]
    with pytest.raises(InputError, match="quality 0 must be 1 to 100"):
        encoder(0)


# --- failures.html ----------------------------------------------------------------------------------------------------


def test_the_page_shows_photos_by_reason_the_most_frequent_first(tmp_path):
    thumbnail = encoded(Image.new("RGB", (20, 10)))
    failures = [Failure(f"a/{number}.jpg", 0, "no face: photo of 9x9 pixels", False, thumbnail) for number in range(3)]
    failures.insert(1, Failure("b/<b>&.jpg", 1, "b/<b>&.jpg: not a readable image", True))
    write_failures(tmp_path, failures)
    page = (tmp_path / "failures.html").read_text()
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["no face: 3", "unreadable: 1"]
    assert counts_of(failures) == "3 no face, 1 unreadable"
    assert page.count("<img src=") == page.count('<img src="data:image/jpeg;base64,') == 3
    assert "b/&lt;b&gt;&amp;.jpg" in page
    assert "<b>" not in page
    assert "http" not in page  # it needs nothing from anywhere
    assert "<br>photo of 9x9 pixels</figcaption>" in page


def test_the_page_of_very_many_says_that_it_shows_some(tmp_path):
    failures = [Failure(f"{number}.jpg", 0, "no face: 1", False) for number in range(MOST_SHOWN + 1)]
    write_failures(tmp_path, failures)
    page = (tmp_path / "failures.html").read_text()
    assert page.count("<figure>") == MOST_SHOWN
    assert f"The first {MOST_SHOWN} are shown" in page
    assert len(failures_in(tmp_path)) == MOST_SHOWN + 1


def test_names_that_are_no_text_are_listed(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    write_failures(tmp_path, [Failure(name, 0, "no face: 1", False)])
    assert b"caf\xe9.jpg" in (tmp_path / "failures.csv").read_bytes()
    assert b"caf\xe9.jpg" in (tmp_path / "failures.html").read_bytes()
