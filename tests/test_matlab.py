"""MATLAB files: equal to what scipy wrote, and no damage, whatever it is, gets further than one line."""

import numpy as np
import pytest
from scipy.io import savemat

from recognition import matlab
from recognition.errors import InputError
from recognition.matlab import Many, read_matlab, text_of


def same(found, given):
    """Whether what was read is what scipy was given, by scipy's own rules of what becomes what."""
    if isinstance(given, dict):
        assert (found.shape, len(found.values), list(found.values[0])) == ((1, 1), 1, list(given))
        return all(same(found.values[0][key], value) for key, value in given.items())
    if isinstance(given, np.ndarray) and given.dtype == object:
        assert found.shape == given.shape
        return all(same(*each) for each in zip(found.values, given.ravel(order="F"), strict=True))
    if isinstance(given, str):
        return found == given
    if isinstance(given, list):  # rows of a char array
        return found == given
    assert found.dtype == given.dtype
    return found.shape == given.shape and np.array_equal(found, given)


def drawn(rng, depth=3):
    """Something that such a file may hold."""
    kind = rng.integers(0, 5 if depth else 3)
    shape = tuple(rng.integers(1, 4, 2))
    if kind == 0:
        return rng.integers(-100, 100, shape).astype(rng.choice(["i1", "i2", "i4", "i8", "f4", "f8"]))
    if kind == 1:
        return rng.integers(0, 200, shape).astype(rng.choice(["u1", "u2", "u4", "u8"]))
    if kind == 2:
        letters = [*"abcdefghij_0123.jpg", "\u00e9", "\u4e2d"]
        return "".join(rng.choice(letters, rng.integers(1, 30)))
    if kind == 3:
        cell = np.empty(shape, object)
        for place in np.ndindex(shape):
            cell[place] = drawn(rng, depth - 1)
        return cell
    return {f"field{number}": drawn(rng, depth - 1) for number in range(rng.integers(1, 4))}


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_wrote_is_read_as_it_was(tmp_path, compressed):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        given = {"first": drawn(rng), "second": drawn(rng), "third": drawn(rng)}
        savemat(tmp_path / "list.mat", given, do_compression=compressed)
        for names in (("first", "third"), ("second",)):
            found = read_matlab(tmp_path / "list.mat", names)
            assert set(found) == set(names)
            assert all(same(found[name], given[name]) for name in names), seed


def test_rows_of_text_struct_arrays_and_texts_that_lie_deeper(tmp_path):
    cells = np.empty((2, 1), object)
    cells[:, 0] = [np.array(["a.jpg"]), {"name": "b.jpg", "age": 3}]
    structs = np.array([[(1.0, "x"), (2.0, "yy")]], [("number", object), ("text", object)])
    savemat(tmp_path / "list.mat", {"rows": np.array(["abc", "de "]), "cells": cells, "structs": structs})
    found = read_matlab(tmp_path / "list.mat", ("rows", "cells", "structs"))
    assert found["rows"] == ["abc", "de "]
    assert [text_of(entry) for entry in found["cells"].values] == ["a.jpg", "b.jpg"]
    assert (found["structs"].shape, [entry["text"] for entry in found["structs"].values]) == ((1, 2), ["x", "yy"])
    with pytest.raises(InputError, match="a text is expected, and ndarray is there"):
        text_of(Many((1, 1), [np.zeros((1, 1))]))


def test_numbers_of_the_other_byte_order(tmp_path):
    """By hand, as MathWorks' document has it: a 1x2 int16 array named x, big-endian."""

    def element(kind, data):
        return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + bytes(-len(data) % 8)

    parts = element(6, (10).to_bytes(4, "big") + bytes(4)) + element(5, bytes([0, 0, 0, 1, 0, 0, 0, 2]))
    parts += element(1, b"x") + element(3, bytes([1, 2, 255, 254]))
    (tmp_path / "list.mat").write_bytes(b"by hand".ljust(124) + b"\x01\x00MI" + element(14, parts))
    assert read_matlab(tmp_path / "list.mat", ("x",))["x"].tolist() == [[258, -2]]


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_is_one_line_that_names_the_file_or_changes_nothing_but_values(tmp_path, compressed):
    path = tmp_path / "list.mat"
    cells = np.empty((20, 1), object)
    cells[:, 0] = [{"name": f"{number}.jpg", "age": number} for number in range(20)]
    savemat(path, {"names": cells, "labels": np.arange(20)[:, None]}, do_compression=compressed)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    for turn in range(600):
        bad = bytearray(good)
        if turn % 3 == 0:
            bad = bad[: int(rng.integers(0, len(bad)))]
        else:
            for _ in range(1 + turn % 4):
                bad[int(rng.integers(0, len(bad)))] = int(rng.choice([0, 255, 127, 14, 15, rng.integers(256)]))
        path.write_bytes(bytes(bad))
        try:
            read_matlab(path, ("names", "labels"))
        except InputError as error:
            refusals.append(str(error))
    assert all(text.startswith(str(path)) for text in refusals)
    assert len(refusals) > 250


def words(kind, *numbers):
    """An element of 4-byte numbers."""
    data = np.array(numbers, "<f4" if kind == 7 else "<u4").tobytes()
    return np.array([kind, len(data)], "<u4").tobytes() + data + bytes(-len(data) % 8)


@pytest.mark.filterwarnings("error")
def test_no_word_of_a_file_can_be_anything_that_is_not_looked_at(tmp_path):
    """Each word in turn as the type of what follows, and that as NaN, infinity, the largest and 0."""
    path = tmp_path / "list.mat"
    cell = np.empty((1, 1), object)
    cell[0, 0] = {"name": "a.jpg", "age": 3}
    savemat(path, {"names": cell, "labels": np.array([[1, 2]], np.int32)})
    good = path.read_bytes()
    refusals = []
    for place in range(128, len(good) - 16, 8):
        for kind in (None, 4, 7, 9, 13):
            for data in (np.array([np.nan]), np.array([np.inf]), np.array([-1]), np.array([0])):
                bad = bytearray(good)
                if kind is not None:
                    bad[place] = kind
                bad[place + 8 : place + 16] = data.tobytes()
                path.write_bytes(bad)
                try:
                    read_matlab(path, ("names", "labels"))
                except InputError as error:
                    refusals.append(str(error))
    assert all(text.startswith(str(path)) for text in refusals)
    assert len(refusals) > 500


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([1] * 70, "no shape"),
        ([0, 2**31 - 1, 2**31 - 1, 2**31 - 1], "no shape"),
        ([3, 2**32 - 1], "1 numbers are there"),
    ],
)
def test_shapes_that_numpy_cannot_have(tmp_path, shape, message):
    body = words(6, 6, 0) + words(6, *shape) + words(1, 1) + (words(7, 1) if shape[0] else words(7))
    array = np.array([14, len(body)], "<u4").tobytes() + body
    (tmp_path / "list.mat").write_bytes(b"by hand".ljust(124) + b"\x00\x01IM" + array)
    with pytest.raises(InputError, match=f"list.mat cannot be read as a MATLAB file: .*{message}"):
        read_matlab(tmp_path / "list.mat", ("\x01\0\0\0",))


def test_what_compressed_parts_hold_together_is_limited(tmp_path, monkeypatch):
    savemat(tmp_path / "list.mat", {f"v{k}": np.zeros((100, 100)) for k in range(4)}, do_compression=True)
    each = 80_000 + 48 + 8 + 8
    monkeypatch.setattr(matlab, "MAX_FILE_BYTES", 4 * each)
    assert read_matlab(tmp_path / "list.mat", ("v3",))["v3"].shape == (100, 100)
    monkeypatch.setattr(matlab, "MAX_FILE_BYTES", 4 * each - 200)
    with pytest.raises(InputError, match="cut short, or larger than any list"):
        read_matlab(tmp_path / "list.mat", ("v3",))


def big(kind, count):
    """An array whose head promises far more than there is."""
    head = np.array([6, 8, kind, 0, 5, 8, count, 1], "<u4").tobytes() + np.array([1 | 1 << 16, 120], "<u4").tobytes()
    body = np.array([5 | 4 << 16, 4, 1, 4], "<u4").tobytes() + b"abc\0" + bytes(4)
    return np.array([14, len(head + body)], "<u4").tobytes() + head + body


@pytest.mark.parametrize("kind", [1, 2, 4, 6, 9])
def test_a_promise_of_billions_takes_no_memory(tmp_path, kind):
    (tmp_path / "list.mat").write_bytes(b"by hand".ljust(124) + b"\x00\x01IM" + big(kind, 2**31 - 1))
    with pytest.raises(InputError, match=r"list.mat cannot be read as a MATLAB file: "):
        read_matlab(tmp_path / "list.mat", ("x",))


def test_other_versions_and_other_things_are_named(tmp_path):
    path = tmp_path / "list.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(InputError, match="version 7.3; save it with -v7"):
        read_matlab(path, ("x",))
    savemat(path, {"x": np.array([[1 + 2j]])})
    with pytest.raises(InputError, match="'x' holds something else than real numbers"):
        read_matlab(path, ("x",))
    savemat(path, {"y": np.array([[1 + 2j]]), "x": np.array([[1.5]])})
    assert read_matlab(path, ("x",))["x"].tolist() == [[1.5]]
    savemat(path, {"y": 1}, format="4")
    with pytest.raises(InputError, match="does not begin as one of version 5"):
        read_matlab(path, ("y",))
    nested = np.zeros((1, 1))
    for _ in range(40):
        cell = np.empty((1, 1), object)
        cell[0, 0] = nested
        nested = cell
    savemat(path, {"x": nested})
    with pytest.raises(InputError, match="nested deeper than 16 times"):
        read_matlab(path, ("x",))
