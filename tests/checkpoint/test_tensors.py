"""The writer's files as the safetensors library reads them, and what writer and reader refuse."""

import errno
import hashlib
import json
import resource

import numpy as np
import pytest
import safetensors.torch
import torch

from recognition.checkpoint import TensorFile, files, tensors, write_tensors
from recognition.checkpoint.tensors import DTYPES, size_of_tensors
from recognition.errors import InputError
from tests.ranks import run_ranks


def random_tensor(rng, dtype):
    shape = tuple(int(size) for size in rng.integers(0, 7, rng.integers(0, 5)))
    tensor = torch.from_numpy(rng.integers(-100, 100, shape)).to(torch.float64).div(3).to(dtype)
    if tensor.dim() > 1 and rng.random() < 0.5:
        tensor = tensor.transpose(0, -1)
    if tensor.dim() and rng.random() < 0.3:
        tensor = tensor[::2]
    return tensor


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("seed", range(30))
def test_the_library_reads_what_was_written(tmp_path, seed, monkeypatch):
    # Blocks of 64 bytes, so that these small tensors are written in several, and cut along every axis.
    monkeypatch.setattr(tensors, "BLOCK_BYTES", 64)
    rng = np.random.default_rng(seed)
    stored = {f"t{n}.ä": random_tensor(rng, dtype) for n, dtype in enumerate([*DTYPES, *DTYPES])}
    path = tmp_path / "a.safetensors"
    written = write_tensors(path, stored, {"who": "ä\n"})
    data = path.read_bytes()
    assert written == ("a.safetensors", len(data), hashlib.sha256(data).hexdigest())
    assert size_of_tensors("a.safetensors", stored, {"who": "ä\n"}) == len(data)
    same(safetensors.torch.load_file(path), stored)
    file = TensorFile(path)
    assert file.metadata == {"who": "ä\n"}
    same({name: file.get(name) for name in file.keys()}, stored)  # noqa: SIM118 (not a dict)
    for name, tensor in stored.items():
        assert file.shape(name) == tuple(tensor.shape)
        if tensor.dim():
            start, stop = sorted(int(row) for row in rng.integers(0, len(tensor) + 1, 2))
            assert torch.equal(file.rows(name, start, stop), tensor[start:stop])


def test_the_types_are_those_that_the_library_writes(tmp_path):
    stored = {str(dtype): torch.ones(3, dtype=dtype) for dtype in DTYPES}
    safetensors.torch.save_file(stored, tmp_path / "theirs.safetensors")
    write_tensors(tmp_path / "ours.safetensors", stored)
    theirs, ours = ((tmp_path / f"{who}.safetensors").read_bytes() for who in ("theirs", "ours"))
    assert dict(safetensors.deserialize(theirs)) == dict(safetensors.deserialize(ours))


def test_every_tensor_begins_at_a_multiple_of_its_element_size(tmp_path):
    stored = {f"{n}": torch.ones(3, dtype=dtype) for n, dtype in enumerate(sorted(DTYPES, key=str))}
    write_tensors(tmp_path / "a.safetensors", stored)
    data = (tmp_path / "a.safetensors").read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    assert header_bytes % 8 == 0
    for name, entry in json.loads(data[8 : 8 + header_bytes]).items():
        assert entry["data_offsets"][0] % stored[name].element_size() == 0


def test_a_file_without_tensors(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {})
    assert TensorFile(tmp_path / "a.safetensors").keys() == []


def test_no_second_copy_of_a_tensor_is_in_memory(tmp_path):
    # Resident memory of a fresh process: its highest mark before and after 256 MB are written, of either layout.
    def highest_growth(_, order):
        stored = torch.ones(8192, 8192)
        stored = stored.t() if order == "columns first" else stored
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_tensors(tmp_path / f"{order}.safetensors", {"w": stored})
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    for order in ("rows first", "columns first"):
        [growth_mb] = run_ranks(highest_growth, 1, order)
        assert growth_mb < 100, order
        (tmp_path / f"{order}.safetensors").unlink()


@pytest.mark.parametrize("tensor", [torch.ones(2, dtype=torch.complex64), torch.eye(2).to_sparse()])
def test_a_type_that_cannot_be_stored_is_named(tmp_path, tensor):
    with pytest.raises(InputError, match=r"a\.safetensors: tensor 'odd' .* cannot be stored"):
        write_tensors(tmp_path / "a.safetensors", {"fine": torch.ones(1), "odd": tensor})
    with pytest.raises(InputError, match="'odd'"):
        size_of_tensors("a.safetensors", {"odd": tensor})


def test_a_disk_that_takes_no_more_is_an_error_with_the_path(tmp_path):
    path = tmp_path / "a.safetensors"

    def write_beyond_the_limit(_):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        try:
            write_tensors(path, {"w": torch.ones(1_000_000)})
        except OSError as error:
            return error.errno, error.filename

    assert run_ranks(write_beyond_the_limit, 1) == [(errno.EFBIG, str(path))]


def test_the_bytes_are_on_the_disk_when_the_writer_returns(tmp_path, monkeypatch):
    synced, fsync = [], files.os.fsync
    monkeypatch.setattr(
        files.os, "fsync", lambda handle: (synced.append(files.os.fstat(handle).st_size), fsync(handle))
    )
    written = write_tensors(tmp_path / "a.safetensors", {"w": torch.ones(1000)})
    assert synced == [written.size]


def test_what_the_reader_cannot_read_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match=r"a\.safetensors is not a readable"):
        TensorFile(path)
    path.write_bytes(b"12345678{")
    with pytest.raises(InputError, match=r"a\.safetensors is not a readable"):
        TensorFile(path)
    path.unlink()
    write_tensors(path, {"w": torch.ones(3, 2), "n": torch.tensor(1)})
    file = TensorFile(path)
    for read in (file.get, file.shape):
        with pytest.raises(InputError, match=r"a\.safetensors: tensor 'x' cannot be read"):
            read("x")
    for name, start, stop in (("w", 0, 4), ("w", -1, 2), ("w", 2, 1), ("n", 0, 0)):
        with pytest.raises(InputError, match=rf"a\.safetensors: tensor '{name}' of shape .* no rows {start} to {stop}"):
            file.rows(name, start, stop)
