"""Weights on disk: what was saved comes back to the bit, the network is recognised, and files are never trusted."""

import hashlib
import json
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open

from recognition.backbones import backbone_names, build_backbone
from recognition.errors import InputError
from recognition.weights import load_backbone, network_of, save_backbone, weights_sha256
from tests.filling import fill, filled_backbone, reference_input

TINY = ["r_tiny", "mbf_tiny", "vit_tiny"]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("name", TINY)
def test_a_round_trip_keeps_every_bit_and_recognises_the_network(tmp_path, name, suffix):
    module = filled_backbone(name)
    save_backbone(tmp_path / f"a{suffix}", module, {"network": name, "step": 7, "accuracy": {"lfw": 0.5}})
    loaded, meta = load_backbone(tmp_path / f"a{suffix}")
    assert list(loaded.state_dict()) == list(module.state_dict())
    assert all(torch.equal(loaded.state_dict()[key], tensor) for key, tensor in module.state_dict().items())
    assert not loaded.training
    assert (meta["network"], meta["embedding_size"], meta["image_size"]) == (name, 32, 112)
    assert meta["sha256"] == weights_sha256(module.state_dict())
    x = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        assert torch.equal(loaded(x), module(x))
    if suffix == ".safetensors":
        assert (meta["step"], meta["accuracy"]) == (7, {"lfw": 0.5})
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]  # nothing written aside is left


def test_a_network_for_another_picture_size_comes_back(tmp_path):
    module = build_backbone("mbf_tiny", 16, image_size=64).eval()
    fill(module)
    meta = {"network": "mbf_tiny", "embedding_size": 16, "image_size": 64}
    save_backbone(tmp_path / "a.safetensors", module, meta)
    loaded, found = load_backbone(tmp_path / "a.safetensors")
    assert {key: found[key] for key in meta} == meta
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(x), module(x))
    save_backbone(tmp_path / "b.safetensors", module, {**meta, "image_size": 112})
    with pytest.raises(InputError, match="of another shape"):
        load_backbone(tmp_path / "b.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_what_is_loaded_is_to_be_used_and_not_trained(tmp_path, suffix):
    save_backbone(tmp_path / f"a{suffix}", filled_backbone("mbf_tiny"), {"network": "mbf_tiny"})
    loaded, _ = load_backbone(tmp_path / f"a{suffix}")
    assert [parameter.requires_grad for parameter in loaded.parameters()].count(True) == 0
    assert not any(module.training for module in loaded.modules())


@pytest.mark.parametrize(
    ("suffix", "function", "error"),
    [
        (".safetensors", "recognition.weights.save_file", SafetensorError("I/O error: No space left\nmore")),
        (".pt", "torch.save", RuntimeError("unexpected pos 64 vs 0\nmore")),
    ],
)
def test_a_full_disk_is_told_with_the_file_and_the_room_left(tmp_path, monkeypatch, suffix, function, error):
    def fail(_, partial, **__):
        partial.write_bytes(b"half")
        raise error

    monkeypatch.setattr(function, fail)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1_500_000))
    first_line = str(error).splitlines()[0]
    with pytest.raises(InputError) as caught:
        save_backbone(tmp_path / f"a{suffix}", filled_backbone("mbf_tiny"), {})
    path = tmp_path / f"a{suffix}"
    assert str(caught.value) == f"{path} could not be written, 1.5 MB are free there; make room ({first_line})"
    assert not list(tmp_path.iterdir())


def test_the_header_of_safetensors_says_what_the_weights_are(tmp_path):
    module = filled_backbone("mbf_tiny")
    save_backbone(tmp_path / "a.safetensors", module, {"network": "mbf_tiny", "mean": 127.5})
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        stored = json.loads(file.metadata()["arcscale"])
        digest = hashlib.sha256()
        for key in sorted(file.keys()):
            tensor = file.get_tensor(key)
            kind = {"float32": "torch.float32", "int64": "torch.int64"}[str(tensor.dtype)]
            digest.update(f"{key} {kind} {tensor.shape}\n".encode() + tensor.tobytes())
    assert stored == {"network": "mbf_tiny", "mean": 127.5, "sha256": digest.hexdigest()}


def test_a_pt_is_the_plain_state_dict_that_arcface_torch_reads(tmp_path):
    module = filled_backbone("r_tiny")
    save_backbone(tmp_path / "model.pt", torch.nn.DataParallel(module), {})
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert list(content) == list(module.state_dict())


@pytest.mark.parametrize("name", [name for name in backbone_names() if name not in ("r2060", "vit_h")])
def test_every_network_is_recognised_by_its_tensors(name):
    with torch.device("meta"):
        state = build_backbone(name, 64).state_dict()
    found = network_of(state)
    # Variants that differ while training only have the same tensors: the plain name stands for all of them.
    assert found == name.split("_dp005")[0] or found == name


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("inner", [None, "state_dict_backbone", "state_dict", "backbone", "model"])
def test_files_of_other_training_programs_load(tmp_path, prefix, inner):
    state = filled_backbone("r_tiny").state_dict()
    content = {prefix + key: tensor for key, tensor in state.items()}
    if inner:
        content = {"epoch": 3, "state_optimizer": {"state": {}}, inner: content}
    torch.save(content, tmp_path / "a.pt")
    loaded, meta = load_backbone(tmp_path / "a.pt", "r_tiny")
    assert meta["network"] == "r_tiny"
    assert all(torch.equal(loaded.state_dict()[key], tensor) for key, tensor in state.items())


def test_the_wrong_network_is_an_error_that_names_the_difference_and_the_right_one(tmp_path):
    save_backbone(tmp_path / "a.pt", filled_backbone("r_tiny"), {})
    with pytest.raises(InputError, match=r"missing .*layers\.0.*unknown .*conv1\.weight.*weights of 'r_tiny'"):
        load_backbone(tmp_path / "a.pt", "mbf")
    with pytest.raises(
        InputError, match=r"of another shape \(conv1.weight is \(\d+, 3, 3, 3\) and should be \(64, 3, 3, 3\)"
    ):
        load_backbone(tmp_path / "a.pt", "r18")
    with pytest.raises(InputError, match="did you mean 'r18'"):
        load_backbone(tmp_path / "a.pt", "r19")


def test_run_directories_give_the_final_model_first(tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        load_backbone(tmp_path)
    save_backbone(tmp_path / "model.pt", filled_backbone("mbf_tiny", 8), {})
    assert load_backbone(tmp_path)[1]["embedding_size"] == 8
    save_backbone(tmp_path / "best.safetensors", filled_backbone("mbf_tiny", 16), {"network": "mbf_tiny"})
    assert load_backbone(tmp_path)[1]["embedding_size"] == 16
    save_backbone(tmp_path / "model.safetensors", filled_backbone("mbf_tiny", 24), {"network": "mbf_tiny"})
    assert load_backbone(tmp_path)[1]["embedding_size"] == 24


def test_model_pt_of_a_run_takes_its_network_from_config_json(tmp_path):
    save_backbone(tmp_path / "model.pt", filled_backbone("vit_tiny"), {})
    (tmp_path / "config.json").write_text('{"network": "r_tiny", "embedding_size": 32}')
    with pytest.raises(InputError, match="does not fit network 'r_tiny'"):
        load_backbone(tmp_path)
    (tmp_path / "config.json").write_text('{"network": ')
    with pytest.raises(InputError, match="not a readable config"):
        load_backbone(tmp_path)


def test_one_flipped_bit_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    save_backbone(path, filled_backbone("mbf_tiny"), {"network": "mbf_tiny"})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        load_backbone(path)


class Hostile:
    def __init__(self, sentinel):
        self.sentinel = str(sentinel)

    def __reduce__(self):
        return os.mkdir, (self.sentinel,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pt_executes_nothing(tmp_path, legacy):
    sentinel, path = tmp_path / "sentinel", tmp_path / "a.pt"
    content = {**filled_backbone("r_tiny").state_dict(), "x": Hostile(sentinel)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match="nothing was executed"):
        load_backbone(path)
    path.write_bytes(pickle.dumps(Hostile(sentinel)))
    with pytest.raises(InputError):
        load_backbone(path)
    assert not sentinel.exists()
    torch.save(content, path)
    torch.load(path, weights_only=False)  # proves that the file above is indeed armed
    assert sentinel.exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.pt", b"", "not a readable PyTorch file"),
        ("a.pt", b"no weights at all", "a.pt"),
        ("a.safetensors", b"", "not a readable safetensors file"),
        ("a.safetensors", b"\xff" * 100, "not a readable safetensors file"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load_backbone(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_files_that_hold_something_else_are_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="no state dict"):
        load_backbone(tmp_path / "a.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="fits no network known here; name it with --network"):
        load_backbone(tmp_path / "a.pt")
    with pytest.raises(InputError, match="does not exist"):
        load_backbone(tmp_path / "b.pt")
    with pytest.raises(InputError, match="choose one of these suffixes"):
        save_backbone(tmp_path / "a.bin", filled_backbone("mbf_tiny"), {})
    assert not (tmp_path / "a.bin").exists()


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_backbone(path, filled_backbone("mbf_tiny"), {"network": "mbf_tiny"})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_backbone(path, filled_backbone("mbf_tiny"), {"network": object()})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_fixture_outputs_of_arcface_torch_survive_a_file(tmp_path, shared_dir):
    """mbf filled by the interop recipe, written as a .pt with `module.` keys, read back, equals the recorded output."""
    fixture = json.loads((shared_dir / "interop" / "backbones.json").read_text())
    fixture = fixture.get("mbf") or next(entry for entry in fixture if entry.get("name") == "mbf")
    state = {f"module.{key}": tensor for key, tensor in filled_backbone("mbf", 512).state_dict().items()}
    torch.save(state, tmp_path / "backbone.pth")
    loaded, meta = load_backbone(tmp_path / "backbone.pth")
    assert meta["network"] == "mbf"
    with torch.no_grad():
        out = loaded(reference_input()).numpy()
    np.testing.assert_allclose(out[:, :8], fixture["out_first8"], rtol=1e-4, atol=1e-4 * np.abs(out).max())
