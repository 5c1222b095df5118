"""What is encoded once: a disk that fills up ends a run with a line, whatever is to become of bad lines."""

import dataclasses
import resource

import pytest
import torch

from generation.lora.assembly import assemble
from generation.lora.cache import Cache
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.generation.lora.small_lora import small
from tests.ranks import run_ranks

BIG = {"x": torch.zeros(1 << 16)}


def without_room(fn, *args):
    """The error of `fn` where no file may grow beyond 64 KB."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, most))
    try:
        fn(*args)
    except Exception as error:
        return error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    return None


def stored_without_room(runtime, folder):
    cache = Cache(folder)
    error = without_room(cache.get_or_make, "latents", "aa", lambda: BIG)
    return type(error), str(error), cache.get("latents", "aa")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    ((kind, text, found),) = run_ranks(stored_without_room, 1, tmp_path)
    assert issubclass(kind, InputError)
    assert f"{tmp_path}/latents/aa/aa.safetensors" in text
    assert "\n" not in text
    assert found is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def prepared_alone(runtime, cfg):
    made = assemble(cfg, Runtime())  # knows nothing of the other rank: another run
    return made.samples, [made.cache.get("latents", sample.latents_key)["latents"] for sample in made.samples.samples]


def test_two_runs_at_once_may_fill_one_cache(home, tmp_path):
    cfg = dataclasses.replace(small(home / "run", faces=True), cache=str(tmp_path / "cache"))
    (samples, latents), (samples_1, latents_1) = run_ranks(prepared_alone, 2, cfg)
    assert samples == samples_1
    assert all(torch.equal(one, other) for one, other in zip(latents, latents_1, strict=True))
    left = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(left) == 6 + 5
    assert all(name.endswith(".safetensors") and not name.startswith(".") for name in left)


def prepared_without_room(runtime, cfg):
    error = without_room(assemble, cfg, runtime)
    return type(error), str(error)


@pytest.mark.parametrize("on_bad_row", ["raise", "skip"])
def test_no_line_is_left_out_because_the_disk_was_full(home, tmp_path, on_bad_row):
    # Latents of 128 x 128 x 4 float32: 256 KB.
    cfg = small(home / "run", "image_size=512", f"on_bad_row={on_bad_row}")
    ((kind, text),) = run_ranks(prepared_without_room, 1, dataclasses.replace(cfg, cache=str(tmp_path)))
    assert issubclass(kind, InputError)
    assert str(tmp_path / "latents") in text
    assert "leaves them out" not in text


def test_nor_because_its_folder_cannot_be_made(home, tmp_path):
    (tmp_path / "file").write_text("")
    cfg = small(home / "run", "on_bad_row=skip", f"cache={tmp_path / 'file'}")
    with pytest.raises(InputError, match=r"file/latents/.* cannot be written \(.*set cache to another folder"):
        assemble(cfg, Runtime())
