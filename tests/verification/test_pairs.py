"""`.bin` sets: what honest writers of any Python write is read as pickle reads it, and nothing ever executes."""

import contextlib
import importlib
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

from recognition.errors import InputError
from recognition.verification import load_pairs
from recognition.verification.pickled import read_pickled_data
from tests.conftest import ROOT
from tests.pictures import encoded, jpeg, pil_pixels
from tests.verification.synthetic import pair_file

FLAGS = [True, False, True]
IMAGES = [jpeg(index) for index in range(6)]


def write(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def require_expected(pairs, flags=FLAGS):
    assert pairs.images.dtype == np.uint8
    assert pairs.issame.dtype == bool
    assert pairs.issame.tolist() == list(flags)
    # Another decoder: Pillow's. libjpeg-turbo is inside both, so they agree to the bit.
    np.testing.assert_array_equal(pairs.images, np.stack([pil_pixels(image) for image in IMAGES]))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("images", "flags"),
    [
        (IMAGES, FLAGS),
        (tuple(IMAGES), tuple(FLAGS)),
        (IMAGES, [int(flag) for flag in FLAGS]),
        (IMAGES, [np.bool_(flag) for flag in FLAGS]),
        (IMAGES, np.array(FLAGS)),
        (IMAGES, np.array(FLAGS, np.int64)),
        ([np.frombuffer(image, np.uint8) for image in IMAGES], FLAGS),
        ([np.frombuffer(image, np.uint8)[:, None] for image in IMAGES], FLAGS),
        ([pil_pixels(image) for image in IMAGES], FLAGS),
        ([np.asfortranarray(pil_pixels(image)) for image in IMAGES], FLAGS),
        (np.stack([pil_pixels(image) for image in IMAGES]), np.array(FLAGS)),
    ],
)
def test_every_protocol_and_numpy_form_is_read(tmp_path, protocol, images, flags):
    require_expected(load_pairs(write(tmp_path / "a.bin", (images, flags), protocol)))


def python2_pickle(images, flags, protocol: int) -> bytes:
    """What Python 2's cPickle wrote: str as STRING (protocol 0) or BINSTRING / SHORT_BINSTRING (1, 2)."""
    out = io.BytesIO()
    if protocol == 2:
        out.write(b"\x80\x02")
    out.write(b"(" if protocol < 2 else b"")
    out.write(b"(lp1\n" if protocol == 0 else b"]q\x01(")
    for image in images:
        if protocol == 0:
            escaped = "".join(chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in image)
            out.write(b"S'" + escaped.encode() + b"'\na")
        elif len(image) < 256:
            out.write(b"U" + bytes([len(image)]) + image)
        else:
            out.write(b"T" + struct.pack("<i", len(image)) + image)
    out.write(b"" if protocol == 0 else b"e")
    out.write(b"(lp2\n" if protocol == 0 else b"]q\x02(")
    for flag in flags:
        out.write((b"I01\na" if flag else b"I00\na") if protocol == 0 else (b"I01\n" if flag else b"I00\n"))
    out.write(b"" if protocol == 0 else b"e")
    out.write(b"\x86." if protocol == 2 else b"t.")
    return out.getvalue()


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_python_2_files_are_read(tmp_path, protocol):
    data = python2_pickle(IMAGES, FLAGS, protocol)
    assert pickle.loads(data, encoding="bytes") == (IMAGES, FLAGS)  # the bytes above are what they claim to be
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    require_expected(load_pairs(path))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_what_pickle_says(protocol):
    value = (
        [b"", b"\x00\xff" * 300, "text ü", "x" * 300],
        [0, 1, -1, 255, 256, 65536, -(2**31), 2**40, -(2**60)],
        (),
        (1,),
    )
    value += ([True, False, None], (1, 2, 3, 4), list(range(3000)))
    assert read_pickled_data(pickle.dumps(value, protocol)) == value


def test_other_picture_formats_are_read(tmp_path):
    images = []
    for index, form in enumerate(["PNG", "BMP", "WEBP", "PNG"]):
        images.append(encoded(pil_pixels(IMAGES[index]), form, lossless=True))
    pairs = load_pairs(write(tmp_path / "a.bin", (images, [True, False])))
    np.testing.assert_array_equal(pairs.images, np.stack([pil_pixels(image) for image in IMAGES[:4]]))


def test_the_development_set_of_lfw_loads(shared_dir):
    pairs = load_pairs(shared_dir / "data" / "lfw" / "train" / "lfw_dev.bin")
    assert pairs.images.shape == (2400, 112, 112, 3)
    assert len(pairs) == 1200
    assert pairs.issame.reshape(10, 120).sum(axis=1).tolist() == [60] * 10


class Call:
    """Pickles as a call of `function`; protocols 0 to 5 each have their own way to write it."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class WithState:
    """Pickles as a call and a state for its result, as BUILD does it."""

    def __init__(self, function, arguments, state):
        self.parts = function, arguments, state

    def __reduce__(self):
        return self.parts


PAYLOADS = {
    "os.system": lambda s: Call(os.system, f"touch {s}"),
    "os.mkdir": lambda s: Call(os.mkdir, str(s)),
    "subprocess": lambda s: Call(subprocess.check_call, ["touch", str(s)]),
    "popen": lambda s: Call(subprocess.Popen, ["touch", str(s)]),
    "eval": lambda s: Call(eval, f"__import__('os').mkdir({str(s)!r})"),
    "exec": lambda s: Call(exec, f"import os; os.mkdir({str(s)!r})"),
    "importlib": lambda s: Call(importlib.import_module, "antigravity"),
    "getattr chain": lambda s: Call(getattr, Call(importlib.import_module, "os"), "mkdir"),
    "getattr of an allowed name": lambda s: Call(getattr, np.ndarray, "tofile"),
    "nested in an allowed call": lambda s: Call(np.dtype, Call(os.mkdir, str(s))),
    "object array": lambda s: np.array([Call(os.mkdir, str(s)), 1], object),
    "object array in list": lambda s: [np.array([b"x", Call(os.mkdir, str(s))], object)],
    "state of a dtype": lambda s: WithState(np.dtype, ("u1", False, True), Call(os.mkdir, str(s))),
    "open for writing": lambda s: Call(open, str(s), "w"),
    "numpy.load": lambda s: Call(np.load, str(s)),
    "numpy.fromfile": lambda s: Call(np.fromfile, str(s)),
    "bytes at will": lambda s: Call(bytes, 1 << 40),
    "bytearray at will": lambda s: Call(bytearray, 1 << 40),
    "other codecs": lambda s: Call(__import__("_codecs").encode, "x", "rot13"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_pickles_execute_nothing(tmp_path, protocol, name):
    sentinel, path = tmp_path / "sentinel", tmp_path / "a.bin"
    payload = PAYLOADS[name](sentinel)
    places = [payload, ([payload, *IMAGES[1:]], FLAGS), (IMAGES, [payload, True, False])]
    files = [pickle.dumps(content, protocol) for content in places]
    # A plain unpickler would execute this one, throw the result away, and return the honest file that follows.
    honest = pickle.dumps((IMAGES, FLAGS), protocol)
    files.append(pickle.dumps(payload, protocol)[:-1] + b"0" + (honest[2:] if protocol >= 2 else honest))
    for data in files:
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.bin"):
            load_pairs(path)
        assert not sentinel.exists()


def test_the_payloads_do_work_when_unpickled(tmp_path):
    """Guards the test above: a payload that is harmless anywhere would prove nothing."""
    for name in ("os.system", "os.mkdir", "eval", "nested in an allowed call", "object array", "open for writing"):
        sentinel = tmp_path / name.replace(" ", "-")
        with contextlib.suppress(TypeError):
            pickle.loads(pickle.dumps(PAYLOADS[name](sentinel), 2))
        assert sentinel.exists(), name


HUGE = (1 << 62).to_bytes(8, "little")
MEMORY_BOMBS = {
    "bytes of 4 EiB": b"\x80\x04\x8e" + HUGE + b"x.",
    "bytearray of 4 EiB": b"\x80\x05\x96" + HUGE + b"x.",
    "text of 4 GiB": b"\x80\x02X\xff\xff\xff\xffx.",
    "memo index of 4e9": b"\x80\x02]r\xff\xff\xff\xff.",
    "frame of 4 EiB": b"\x80\x04\x95" + HUGE + b"].",
    "array without its bytes": pickle.dumps(np.zeros(1, np.uint8), 2).replace(
        b"K\x01\x85", b"J\xff\xff\xff\x7f\x85", 2
    ),
    "one text encoded again and again": (
        b"\x80\x02c_codecs\nencode\nq\x00X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"q\x01U\x06latin1q\x02"
        b"]" + b"h\x00h\x01h\x02\x86Ra" * 300 + b"."
    ),
    "200,000 nested lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "200,000 nested tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
    "nested shape": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01)"
    + b"\x85" * 200_000
    + b"cnumpy\ndtype\nU\x02u1\x85R\x89U\x01xtb.",
    "marks only": b"(" * 200_000,
    "digits only": b"I" + b"9" * 200_000 + b"\n.",
}


@pytest.mark.parametrize("name", MEMORY_BOMBS)
def test_bombs_are_refused_soon_and_in_little_memory(tmp_path, name):
    path = tmp_path / "a.bin"
    path.write_bytes(MEMORY_BOMBS[name])
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(InputError, match=r"a\.bin"):
        load_pairs(path)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60e6
    assert seconds < 5  # CPU time under the tracer, which costs about tenfold


def test_damage_anywhere_is_an_input_error_or_honest_data():
    """Every cut and 2,000 flipped bytes: no other exception escapes, whatever opcode the damage makes."""
    data = pickle.dumps((IMAGES[:2], [True]), 2)
    for end in range(len(data)):
        with pytest.raises(InputError):
            read_pickled_data(data[:end])
    rng = np.random.default_rng(0)
    for _ in range(2000):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
        with contextlib.suppress(InputError):
            read_pickled_data(bytes(flipped))


def test_every_data_opcode_of_pickle_is_known_and_no_other():
    """Against the standard library's own table of opcodes."""
    code = {
        "INST",
        "OBJ",
        "NEWOBJ",
        "NEWOBJ_EX",
        "EXT1",
        "EXT2",
        "EXT4",
        "PERSID",
        "BINPERSID",
        "NEXT_BUFFER",
        "READONLY_BUFFER",
    }
    for opcode in pickletools.opcodes:
        if opcode.name in code:
            with pytest.raises(InputError, match="not one that plain data needs"):
                read_pickled_data(opcode.code.encode("latin1") + b"\x00" * 8 + b".")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((IMAGES[:5], FLAGS), "5 images for 3 pairs"),
        ((IMAGES, FLAGS[:2]), "6 images for 2 pairs"),
        (([], []), "holds no pairs"),
        ((IMAGES, [True, False, 7]), "flag of pair 2"),
        ((IMAGES, [True, "yes", False]), "flag of pair 1"),
        ((IMAGES,), "a pair of two lists"),
        ({}, "not one that plain data needs"),
        ((7, 8), "a pair of two lists"),
        (([*IMAGES[:3], b"no picture", *IMAGES[4:]], FLAGS), r"image 3 \(pair 1, second picture\)"),
        (([*IMAGES[:4], IMAGES[4][:200], IMAGES[5]], FLAGS), r"image 4 \(pair 2, first picture\)"),
        (([*IMAGES[:2], b"", *IMAGES[3:]], FLAGS), "image 2 "),
        (([*IMAGES[:2], 3, *IMAGES[3:]], FLAGS), "image 2 .*neither"),
        (([*IMAGES[:5], jpeg(9, 24)], FLAGS), r"image 5 .* is 24x24 pixels, but image 0 is 16x16"),
        (([np.zeros((9, 9, 3), np.float32)] * 6, FLAGS), "image 0 .*neither"),
    ],
)
def test_wrong_content_is_one_line_that_names_the_place(tmp_path, content, message):
    path = write(tmp_path / "a.bin", content)
    with pytest.raises(InputError, match=message) as caught:
        load_pairs(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_pickle_or_absent_is_named(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(IMAGES[0])
    with pytest.raises(InputError, match="not a readable verification set"):
        load_pairs(path)
    with pytest.raises(InputError, match="does not exist"):
        load_pairs(tmp_path / "b.bin")


def test_an_image_bomb_is_refused_by_its_header(tmp_path):
    png = bytearray(encoded(np.zeros((8, 8, 3), np.uint8), "PNG"))
    png[16:24] = struct.pack(">II", 60000, 60000)
    png[29:33] = struct.pack(">I", __import__("zlib").crc32(bytes(png[12:29])))
    with pytest.raises(InputError, match="image 0"):
        load_pairs(write(tmp_path / "a.bin", ([bytes(png)] * 2, [True])))


def test_large_sets_are_read_in_file_order(tmp_path):
    pairs = load_pairs(pair_file(tmp_path / "a.bin", num_pairs=150, protocol=2))
    for index in (0, 1, 149, 298, 299):
        np.testing.assert_array_equal(pairs.images[index], pil_pixels(jpeg(index)))


def test_a_picture_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path):
    large = jpeg(0, 2100)  # 4.4 million pixels: less than Pillow's own limit, more than a face crop can need
    with pytest.raises(InputError, match="image 0 .* at most 4194304 pixels"):
        load_pairs(write(tmp_path / "a.bin", ([large] * 2, [True])))


@pytest.mark.parametrize("name", [b"cos\nsystem\n", b"\x8c\x02os\x8c\x06system\x93", b"cbuiltins\ngetattr\n"])
def test_an_unknown_name_is_refused_where_it_stands_even_if_never_called(tmp_path, name):
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x80\x04" + name + b"0" + pickle.dumps((IMAGES, FLAGS), 4)[2:])
    with pytest.raises(InputError, match="which is code and not data: refused, nothing was executed"):
        load_pairs(path)


def test_tools_that_only_read_and_write_sets_do_not_wait_for_torch():
    program = "import sys, launch.records, recognition.verification.pairs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
