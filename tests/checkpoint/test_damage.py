"""Goal: of 300 damaged checkpoints 300 are refused, the damaged file is named, and the one before is taken."""

import os
import re
import shutil

import numpy as np
import pytest

from recognition.checkpoint import CheckpointStore, DamagedCheckpoint, open_checkpoint
from recognition.errors import InputError
from tests.checkpoint.small_checkpoints import LONE, assert_is_of, save
from tests.ranks import run_ranks


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def truncate(path, rng):
    os.truncate(path, rng.integers(path.stat().st_size))


def append(path, rng):
    with open(path, "ab") as file:
        file.write(rng.bytes(1 + rng.integers(10)))


def remove(path, _):
    path.unlink()


@pytest.fixture
def folder(tmp_path):
    with CheckpointStore(tmp_path / "checkpoints", LONE) as store:
        for step in (5, 10):
            save(store, step)
    return tmp_path / "checkpoints"


SIZE = "is damaged: it has [0-9]+ bytes and should have"


@pytest.mark.parametrize(("damage", "times"), [(flip, 200), (truncate, 100), (append, 20), (remove, 4)])
def test_damage_anywhere_is_refused_and_named(folder, damage, times):
    rng = np.random.default_rng(0)
    newest = folder / "step-00000010"
    shutil.copytree(newest, folder.parent / "sound")
    files = sorted(path.name for path in newest.iterdir())
    assert files == ["config.json", "manifest.json", "rank-0.safetensors", "state.json"]
    for n in range(times):
        name = files[n % len(files)]
        damage(newest / name, rng)
        with pytest.raises(DamagedCheckpoint, match=f"{newest / name} ") as caught:
            open_checkpoint(newest)
        # A wrong size is found without reading gigabytes.
        assert re.search(SIZE, str(caught.value)) or damage in (flip, remove) or name == "manifest.json"
        lines = []
        with CheckpointStore(folder, LONE) as store:
            assert_is_of(store.newest(lines.append), 5)
        assert len(lines) == 1
        assert lines[0].startswith(f"checkpoint step-00000010 is passed over: {newest / name} ")
        shutil.copy(folder.parent / "sound" / name, newest / name)
    assert_is_of(open_checkpoint(newest), 10)


def test_none_sound_is_an_error_and_not_a_fresh_start(folder):
    for step in ("step-00000005", "step-00000010"):
        (folder / step / "state.json").write_text("x")
    lines = []
    with CheckpointStore(folder, LONE) as store:
        with pytest.raises(InputError, match=r"2 checkpoint.* none is sound .*step-00000010/state\.json is damaged"):
            store.newest(lines.append)
    assert [line.split()[1] for line in lines] == ["step-00000010", "step-00000005"]


def test_a_folder_without_its_manifest_is_refused(folder):
    (folder / "step-00000010" / "manifest.json").unlink()
    with pytest.raises(DamagedCheckpoint, match=r"manifest\.json cannot be read: No such file"):
        open_checkpoint(folder / "step-00000010")


def test_one_checkpoint_under_the_name_of_another_is_refused(folder):
    shutil.rmtree(folder / "step-00000010")
    shutil.copytree(folder / "step-00000005", folder / "step-00000010")
    with pytest.raises(DamagedCheckpoint, match="is of step 5"):
        open_checkpoint(folder / "step-00000010")
    shutil.copytree(folder / "step-00000005", folder.parent / "my copy")
    assert_is_of(open_checkpoint(folder.parent / "my copy"), 5)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_verification_and_agree_on_what_they_find(tmp_path, world):
    def save_two(runtime):
        with CheckpointStore(tmp_path, runtime) as store:
            for step in (5, 10):
                save(store, step, runtime=runtime)

    run_ranks(save_two, world)
    for rank in range(world):
        name = f"step-00000010/rank-{rank}.safetensors"
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

        def read(runtime):
            lines = []
            with CheckpointStore(tmp_path, runtime) as store:
                found = store.newest(lines.append)
                assert_is_of(found, 5, world=world)
            return lines

        lines, *others = run_ranks(read, world)
        assert len(lines) == 1
        assert name in lines[0]
        assert others == [[]] * (world - 1)
        (tmp_path / name).write_bytes(data)
