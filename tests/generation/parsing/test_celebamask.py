"""Parts of CelebAMask-HQ become masks; what does not belong there is told with its file."""

import numpy as np
import pytest
from PIL import Image

from generation.parsing import celebamask
from generation.parsing.celebamask import merge, merged_parts, parts_of
from recognition.errors import InputError
from recognition.heads.classes import NAMES

SIDE = 16


def write_parts(root, number, parts, folder="0"):
    where = root / "CelebAMask-HQ-mask-anno" / folder
    where.mkdir(parents=True, exist_ok=True)
    for name, part_HW in parts.items():
        # As published: three equal channels, 0 or 255.
        Image.fromarray(np.repeat(255 * np.uint8(part_HW)[..., None], 3, 2)).save(where / f"{number:05}_{name}.png")
    pictures = root / "CelebA-HQ-img"
    pictures.mkdir(exist_ok=True)
    Image.new("RGB", (2 * SIDE, 2 * SIDE), (200, 100, 50)).save(pictures / f"{number}.jpg")


def parts(seed, names):
    draw = np.random.default_rng(seed)
    return {name: draw.random((SIDE, SIDE)) < 0.3 for name in names}


def painted(drawn):
    """Pixel by pixel: the last part, in the published order, that has it."""
    order = "skin l_brow r_brow l_eye r_eye eye_g l_ear r_ear ear_r nose mouth u_lip l_lip neck neck_l cloth hair hat"
    mask = [[0] * SIDE for _ in range(SIDE)]
    for number, name in enumerate(order.split(), start=1):
        for y, x in np.argwhere(drawn.get(name, np.zeros((SIDE, SIDE)))):
            mask[y][x] = number
    return mask


def merged(root, out):
    return merge(root, out, size=SIDE, picture_size=2 * SIDE)


def test_later_parts_lie_over_earlier_ones_and_some_may_be_missing(tmp_path):
    some = {0: parts(0, NAMES[1:]), 1: parts(1, ("skin", "hair", "l_eye")), 2000: parts(2, ("hat", "cloth"))}
    for number, drawn in some.items():
        write_parts(tmp_path, number, drawn, folder=str(number // 2000))
    done = merged(tmp_path, tmp_path / "masks")
    assert (done.written, done.kept) == (3, 0)
    total = np.zeros(19, int)
    for number, drawn in some.items():
        with Image.open(tmp_path / "masks" / f"{number}.png") as image:
            assert image.mode == "L"
            assert np.asarray(image).tolist() == painted(drawn)
            total += np.bincount(np.asarray(image).ravel(), minlength=19)
    assert list(done.pixels.values()) == total.tolist()


def test_what_was_interrupted_goes_on(tmp_path, monkeypatch):
    for number in range(3):
        write_parts(tmp_path, number, parts(number, ("skin", "nose")))
    out, kept = tmp_path / "masks", celebamask.save_png

    def full(path, pixels):
        if path.name == "1.png":
            raise OSError(28, "No space left on device")
        kept(path, pixels)

    monkeypatch.setattr(celebamask, "save_png", full)
    with pytest.raises(OSError, match="No space left"):
        merged(tmp_path, out)
    assert [path.name for path in out.iterdir()] == ["0.png"]
    monkeypatch.setattr(celebamask, "save_png", kept)
    before = (out / "0.png").stat().st_mtime_ns
    done = merged(tmp_path, out)
    assert (done.written, done.kept) == (2, 1)
    assert (out / "0.png").stat().st_mtime_ns == before
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png"]


def test_a_part_that_is_none_is_named(tmp_path):
    write_parts(tmp_path, 7, parts(0, ("skin", "beard")))
    with pytest.raises(InputError, match=r"0/00007_beard.png: beard is no part of a face known here; parts are skin"):
        merged(tmp_path, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_files_that_are_no_parts_and_parts_that_are_there_twice(tmp_path):
    write_parts(tmp_path, 1, parts(0, ("skin",)))
    write_parts(tmp_path, 1, parts(0, ("skin",)), folder="1")
    with pytest.raises(InputError, match=r"1/00001_skin.png: .*0/00001_skin.png is the same part"):
        parts_of(tmp_path)
    (tmp_path / "CelebAMask-HQ-mask-anno" / "0" / "cat.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"cat.png: parts are called NUMBER_PART.png"):
        parts_of(tmp_path)
    with pytest.raises(InputError, match="holds no CelebAMask-HQ-mask-anno/0/00000_skin.png"):
        parts_of(tmp_path / "elsewhere")


def test_sizes_are_checked(tmp_path):
    write_parts(tmp_path, 3, {"skin": np.ones((SIDE, SIDE)), "hair": np.ones((SIDE, SIDE + 1))})
    with pytest.raises(InputError, match=r"00003_hair.png: 17 x 16 pixels, and 16 x 16 are expected"):
        merged(tmp_path, tmp_path / "masks")
    write_parts(tmp_path, 3, {"hair": np.ones((SIDE, SIDE))})
    picture = tmp_path / "CelebA-HQ-img" / "3.jpg"
    Image.new("RGB", (9, 9)).save(picture)
    with pytest.raises(InputError, match=r"3.jpg: 9 x 9 pixels, and 32 x 32 are expected"):
        merged(tmp_path, tmp_path / "masks")
    picture.unlink()
    with pytest.raises(InputError, match=r"3.jpg is missing, and there are parts of it"):
        merged(tmp_path, tmp_path / "masks")


def test_a_damaged_part_is_named(tmp_path):
    write_parts(tmp_path, 3, {"skin": np.ones((SIDE, SIDE))})
    path = tmp_path / "CelebAMask-HQ-mask-anno" / "0" / "00003_skin.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"00003_skin.png: not a readable PNG"):
        merged_parts({"skin": path}, size=SIDE)
