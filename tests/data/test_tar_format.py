"""The walk over a tar archive against tarfile's, and every damage that the format can show."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from recognition.data.tar_format import BLOCK, name_before, walk
from recognition.errors import InputError
from tests.data.source_kinds import PICTURES, add_member, write_tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)


def walked(content):
    return [(m.name, m.offset, m.size, m.is_link) for m in walk(memoryview(content), Path("a.tar"))]


def by_tarfile(content):
    """What the standard library finds: files and links."""
    with tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape") as archive:
        return [
            (m.name.encode("utf-8", "surrogateescape"), m.offset_data, m.size if m.isreg() else 0, not m.isreg())
            for m in archive
            if m.isreg() or m.islnk() or m.issym()
        ]


def archive_of(fmt, add):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=fmt) as archive:
        add(archive)
    return buffer.getvalue()


def add_special(archive, name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    archive.addfile(member)


@each_format
@pytest.mark.parametrize("seed", range(20))
def test_random_archives_are_walked_as_by_tarfile(fmt, seed):
    rng = np.random.default_rng(seed)

    def add(archive):
        for number in range(rng.integers(0, 12)):
            # ustar splits long paths between name and prefix; names beyond both need the other formats.
            folder = "".join(rng.choice(list("abc/é"), rng.integers(0, 80))).strip("/").replace("//", "/")
            stem = "n" * int(rng.integers(1, 90 if fmt == tarfile.USTAR_FORMAT else 300))
            name = f"{folder}/{number}{stem}.jpg"
            kind = rng.choice(["file", "file", "file", "folder", "hard", "soft"])
            if kind == "file":
                add_member(archive, name, rng.bytes(int(rng.integers(0, 2000))))
            elif kind == "folder":
                add_special(archive, name, tarfile.DIRTYPE)
            else:
                add_special(archive, name, tarfile.LNKTYPE if kind == "hard" else tarfile.SYMTYPE, "t" * 90)

    content = archive_of(fmt, add)
    assert walked(content) == by_tarfile(content)


@pytest.mark.parametrize("fmt", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_names_of_links_and_of_what_they_point_to(fmt):
    def add(archive):
        add_special(archive, "l" * 150, tarfile.SYMTYPE, "t" * 150)
        add_member(archive, "f" * 150 + ".jpg", b"picture")

    content = archive_of(fmt, add)
    assert walked(content) == by_tarfile(content)
    assert walked(content)[1][0] == b"f" * 150 + b".jpg"


def test_a_long_name_may_come_before_the_long_target():
    def add(archive):
        add_special(archive, "l" * 150, tarfile.SYMTYPE, "t" * 160)

    content = archive_of(tarfile.GNU_FORMAT, add)
    target, name, rest = content[: 2 * BLOCK], content[2 * BLOCK : 4 * BLOCK], content[4 * BLOCK :]
    assert (target[156:157], name[156:157]) == (b"K", b"L")
    assert walked(name + target + rest) == by_tarfile(name + target + rest) == walked(content)


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
def test_what_has_no_bytes_may_have_a_size_nevertheless(kind):
    member = tarfile.TarInfo("old")
    member.type, member.size = kind, 1000
    content = member.tobuf(tarfile.USTAR_FORMAT)
    content += archive_of(tarfile.USTAR_FORMAT, lambda archive: add_member(archive, "a.jpg", b"picture"))
    assert walked(content) == by_tarfile(content)


@pytest.mark.parametrize("fmt", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_members_beyond_8_gb(tmp_path, fmt):
    huge = tarfile.TarInfo("huge.bin")
    huge.size = 9 << 30
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        file.write(huge.tobuf(fmt))
        file.seek(huge.size, 1)
        file.write(archive_of(fmt, lambda archive: add_member(archive, "b.jpg", b"picture")))
    view = memoryview(np.memmap(path, np.uint8, mode="r"))
    (first, second) = walk(view, path)
    assert (first.name, first.size) == (b"huge.bin", 9 << 30)
    assert (second.name, bytes(view[second.offset :][: second.size])) == (b"b.jpg", b"picture")


def test_values_for_all_members_are_no_names():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as archive:
        add_member(archive, "a.jpg", b"picture")
    assert walked(content.getvalue()) == by_tarfile(content.getvalue())


@pytest.fixture(params=FORMATS.values(), ids=FORMATS)
def small(request, tmp_path):
    """An archive of three samples; with pax, each member has a header more."""
    return write_tar(tmp_path / "small.tar", PICTURES[:3], fmt=request.param).read_bytes()


def end_of_files(content):
    *_, last = walk(memoryview(content), Path("a.tar"))
    return last.offset + -(-last.size // BLOCK) * BLOCK


def test_an_archive_cut_anywhere_is_an_error(small):
    for length in range(0, end_of_files(small) + BLOCK, 37):
        with pytest.raises(InputError, match=r"^a\.tar.* at offset \d+: .*; "):
            walked(small[:length])
    assert walked(small[: end_of_files(small) + BLOCK]) == walked(small), "one block of zeros is an end"


def test_a_member_that_is_cut_short_is_named(small):
    name, offset, size, _ = walked(small)[2]
    with pytest.raises(InputError, match=rf"^a\.tar member {name.decode()} at .*: {size} bytes from {offset} run past"):
        walked(small[: offset + size - 1])


def test_a_wrong_byte_in_a_header_is_an_error(small):
    for header in {offset for _, offset, _, _ in walked(small)}:
        for place in range(header - BLOCK, header):
            damaged = bytearray(small)
            damaged[place] ^= 0x11
            try:
                found = walked(bytes(damaged))
            except InputError:
                continue
            # The checksum field may be written in several ways.
            assert header - BLOCK + 148 <= place < header - BLOCK + 156, place
            assert found == walked(small)


def test_a_damaged_header_is_named_with_its_offset(small):
    _, offset, _, _ = walked(small)[2]
    damaged = bytearray(small)
    damaged[offset - BLOCK] ^= 1
    with pytest.raises(InputError, match=rf"^a\.tar at offset {offset - BLOCK}: no tar header begins there; .*re-copy"):
        walked(bytes(damaged))


def test_what_follows_the_end_is_an_error(small):
    with pytest.raises(InputError, match="more follows the archive's end; join archives with tar --concatenate"):
        walked(small + small)
    assert walked(small + bytes(3 * BLOCK)) == walked(small)


def test_sparse_files_are_refused():
    member = tarfile.TarInfo("a.jpg")
    member.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(InputError, match=r"member a\.jpg at offset 512: a sparse file .*--sparse"):
        walked(member.tobuf(tarfile.GNU_FORMAT) + bytes(2 * BLOCK))
    member = tarfile.TarInfo("a.jpg")
    member.pax_headers = {"GNU.sparse.major": "1"}
    with pytest.raises(InputError, match="a sparse file"):
        walked(member.tobuf(tarfile.PAX_FORMAT) + bytes(2 * BLOCK))


@pytest.mark.parametrize(
    "line", [b"7 path\n", b"99 path=a\n", b"x path=a\n", b"0 path=a\n", b"10 path=a.", b"11 size=-1\n", b"7path=a\n"]
)
def test_damaged_pax_headers_are_errors(line):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(line)
    content = header.tobuf(tarfile.USTAR_FORMAT) + line.ljust(BLOCK, b"\0")
    content += archive_of(tarfile.USTAR_FORMAT, lambda archive: add_member(archive, "a.jpg", b"picture"))
    with pytest.raises(InputError, match="at offset 512: no line of a pax header begins there"):
        walked(content)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_long_name_without_its_file_is_an_error(kind):
    line = b"14 path=a.jpg\n"
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, len(line)
    with pytest.raises(InputError, match="ends behind a long name, without its file"):
        walked(header.tobuf(tarfile.USTAR_FORMAT) + line.ljust(BLOCK, b"\0") + bytes(2 * BLOCK))


def test_the_name_before_a_picture(small):
    for name, offset, _, _ in walked(small):
        assert name_before(memoryview(small), offset) == name
