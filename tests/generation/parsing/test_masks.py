"""Sets of pictures with masks, and how both vary together."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from generation.parsing.augmentation import SCALES, mirrored, recoloured, varied
from generation.parsing.batches import MaskBatches
from generation.parsing.config import ParsingConfig
from generation.parsing.masks import TEST, TRAIN, open_masks
from recognition.errors import InputError
from recognition.heads.classes import NAMES
from recognition.runtime import Runtime
from tests.generation.parsing.small_faces import SIDE, SMALL, face, write_faces


def test_pictures_and_masks_go_together_in_the_order_of_their_numbers(tmp_path):
    pictures = open_masks(write_faces(tmp_path / "set", 12), SIDE)
    assert [path.stem for path in pictures.pictures] == [str(number) for number in range(12)]
    for number in range(12):
        for found, wanted in zip(pictures.read(number), face(number)):
            assert np.array_equal(found, wanted)
    assert [len(pictures.split(part)) for part in (TRAIN, TEST)] == [11, 1]
    assert pictures.split(TEST, 3).pictures == pictures.pictures[9:]
    with pytest.raises(InputError, match="--test_size 12: there are 12 pictures"):
        pictures.split(TRAIN, 12)


def test_masks_keep_their_values_when_they_are_resized(tmp_path):
    pictures = open_masks(write_faces(tmp_path / "set", 2), SIDE // 2)
    mask_HW = pictures.read(0)[1]
    assert set(np.unique(mask_HW)) == {0, 1, 17}
    picture, truth = face(0)
    small = np.asarray(Image.fromarray(picture).resize((SIDE // 2, SIDE // 2), Image.Resampling.BILINEAR))
    assert np.array_equal(pictures.read(0)[0], small)
    # A pixel of the half is the middle of four, of which it takes one.
    of_four = truth.reshape(SIDE // 2, 2, SIDE // 2, 2).transpose(0, 2, 1, 3).reshape(SIDE // 2, SIDE // 2, 4)
    assert (of_four == mask_HW[..., None]).any(-1).all()


def test_what_does_not_fit_is_told_with_its_file(tmp_path):
    folder = write_faces(tmp_path / "set", 3)
    bad = np.zeros((SIDE, SIDE), np.uint8)
    bad[3, 4] = 19
    Image.fromarray(bad).save(folder / "masks" / "1.png")
    Image.fromarray(bad[:, :-8]).save(folder / "masks" / "2.png")
    pictures = open_masks(folder, SIDE)
    with pytest.raises(InputError, match=r"masks/1.png: has class 19, and classes are 0 to 18"):
        pictures.read(1)
    Image.fromarray(bad[:, 8:] * 0).save(folder / "masks" / "2.png")
    with pytest.raises(InputError, match=r"masks/2.png: 24 x 32 pixels, which is another shape than that of .*2.png"):
        pictures.read(2)
    Image.new("RGB", (SIDE, SIDE)).save(folder / "masks" / "2.png")
    with pytest.raises(InputError, match="a mask has one channel of bytes, and this is RGB"):
        pictures.read(2)
    (folder / "masks" / "0.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 pictures have no mask, first .*masks/0.png"):
        open_masks(folder, SIDE)
    with pytest.raises(InputError, match="holds neither images/ nor CelebA-HQ-img/"):
        open_masks(tmp_path, SIDE)


def test_in_a_mirror_left_is_right():
    mask_HW = np.arange(19, dtype=np.uint8)[None]
    _, turned = mirrored(np.zeros((1, 19, 3), np.uint8), mask_HW)
    names = [NAMES[number] for number in turned[0, ::-1]]
    swapped = {"l_brow": "r_brow", "l_eye": "r_eye", "l_ear": "r_ear"}
    swapped |= {right: left for left, right in swapped.items()}
    assert names == [swapped.get(name, name) for name in NAMES]
    assert names[13] == "l_lip"  # the lower lip is no left lip


def test_colours_are_those_of_pillow():
    pixels = face(0)[0]
    image = Image.fromarray(pixels)
    for place, kind in enumerate((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)):
        for factor in (0.6, 1.4):
            factors = [1.0, 1.0, 1.0]
            factors[place] = factor
            wanted = np.asarray(kind(image).enhance(factor)).astype(int)
            assert np.abs(recoloured(pixels, *factors).astype(int) - wanted).max() <= 2  # it rounds its greys
    assert np.array_equal(recoloured(pixels, 1, 1, 1), pixels)


def test_picture_and_mask_vary_together():
    """Pixels whose colour tells their place: where one went, the mask's went, too."""
    side = 48
    mask_HW = (np.mgrid[:side, :side][1] > side // 2).astype(np.uint8) * 17
    pixels = np.where(mask_HW[..., None] > 0, np.uint8(220), np.uint8(90)).repeat(3, 2)
    seen = set()
    for seed in range(30):
        draw = np.random.default_rng(seed)
        out_HWC, out_HW = varied(pixels, mask_HW, draw)
        assert out_HWC.shape == (side, side, 3)
        assert out_HW.shape == (side, side)
        light, dark = out_HWC[out_HW == 17].astype(float), out_HWC[(out_HW == 0) & (out_HWC[..., 0] > 0)]
        if len(light) and len(dark):
            assert np.median(light) > np.median(dark) + 20
        seen.add(round((out_HWC[..., 0] == 0).mean(), 2))
    assert len(SCALES) == 6
    assert 0.44 in seen  # three quarters as large, on black: 1 - 0.75 * 0.75


def test_batches_are_functions_of_seed_step_and_rank(faces):
    cfg = ParsingConfig(**{**SMALL, "data_dir": faces, "save_dir": faces})
    pictures = open_masks(faces, SIDE)
    whole = list(MaskBatches(pictures, cfg, Runtime()).from_step(0))
    later = list(MaskBatches(pictures, cfg, Runtime()).from_step(4))
    assert len(whole) == 6
    for one, other in zip(whole[4:], later):
        assert (one.images_BHWC == other.images_BHWC).all()
        assert (one.masks_BHW == other.masks_BHW).all()


def test_two_ranks_see_every_picture_once_a_pass(faces):
    cfg = ParsingConfig(**{**SMALL, "data_dir": faces, "save_dir": faces})
    ranks = [MaskBatches(open_masks(faces, SIDE), cfg, Runtime(rank=rank, world=2)) for rank in (0, 1)]
    passes = [sorted(row for step in (2 * n, 2 * n + 1) for each in ranks for row in each.rows(step)) for n in (0, 1)]
    assert passes == [list(range(16))] * 2
    assert [row for step in (0, 1) for row in ranks[0].rows(step)] != [
        row for step in (2, 3) for row in ranks[0].rows(step)
    ]
