"""Named and free recipes of preprocessing, against the same worked out in numpy."""

import numpy as np
import pytest
import torch
from PIL import Image

from recognition.embedding.preprocess import (
    OURS,
    RECIPES,
    Preprocess,
    apply,
    given_values,
    parse_preprocess,
    recipes_help,
    stored_preprocess,
)
from recognition.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 6, 6)).astype(np.float32)
# (pixel - mean) / std, in the order of the channels that the model sees.
KNOWN = {
    "arcface": ("RGB", [127.5] * 3, [127.5] * 3),
    "arcface-128": ("RGB", [127.5] * 3, [128] * 3),
    "adaface": ("BGR", [127.5] * 3, [127.5] * 3),
    "imagenet": ("RGB", np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255),
    "unit": ("RGB", [0] * 3, [255] * 3),
    "raw": ("RGB", [0] * 3, [1] * 3),
    "sface": ("RGB", [0] * 3, [1] * 3),
}


def ours(pixels):
    return torch.from_numpy((pixels - 127.5) / 127.5)


@pytest.mark.parametrize("name", KNOWN)
def test_recipes_are_what_they_are_named_after(name):
    order, mean, std = KNOWN[name]
    pixels = PIXELS[:, ::-1] if order == "BGR" else PIXELS
    expected = (pixels - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    found = apply(parse_preprocess(name), ours(PIXELS)).numpy()
    # float32 keeps 2^-24 of the largest number on the way, a pixel value.
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * 255 * 2**-24 / np.min(std))


def test_recipes_with_a_size_are_known_too():
    assert parse_preprocess("facenet") == Preprocess("RGB", (127.5,), (128.0,), 160)
    assert parse_preprocess("vggface2") == Preprocess("BGR", (91.4953, 103.8827, 131.0912), (1.0,), 224)


def test_what_arcscale_trains_on_is_not_touched():
    x = ours(PIXELS)
    assert apply(OURS, x) is x


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bgr,mean=104:117:123,std=1", Preprocess("BGR", (104.0, 117.0, 123.0), (1.0,))),
        ("bgr", Preprocess("BGR")),
        (" RGB , size=160", Preprocess("RGB", size=160)),
        ("unit,bgr", Preprocess("BGR", (0.0,), (255.0,))),
        ("facenet,size=112", Preprocess("RGB", (127.5,), (128.0,), 112)),
        ("mean=0", Preprocess(mean=(0.0,))),
    ],
)
def test_free_form(text, expected):
    assert parse_preprocess(text) == expected
    assert parse_preprocess(expected.text()) == expected


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_written_out_is_the_recipe(name):
    assert parse_preprocess(RECIPES[name][0].text()) == RECIPES[name][0]
    assert f"  {name} " in recipes_help()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arcfce", "did you mean 'arcface'"),
        ("", "'' is not understood"),
        ("bgr,unit", "'unit' is not understood"),
        ("mean=1:2", "one number, or three"),
        ("mean=a", "mean=a is no number"),
        ("mean=nan", "one number, or three"),
        ("std=0", "divide by zero"),
        ("std=1:0:1", "divide by zero"),
        ("size=0", "no number of pixels"),
        ("size=99999", "no number of pixels"),
        ("size=-1", "no number of pixels"),
        ("sizes=3", "'sizes=3' is not understood"),
    ],
)
def test_what_is_not_understood_is_named(text, message):
    with pytest.raises(InputError, match=message):
        parse_preprocess(text)


def test_what_is_said_goes_before_what_is_known():
    known = Preprocess("BGR", (1.0,), (2.0,), 5)
    assert Preprocess().over(known) == known
    assert Preprocess("RGB", std=(3.0,)).over(known) == Preprocess("RGB", (1.0,), (3.0,), 5)


def test_facts_have_one_number_where_one_is_enough():
    assert OURS.facts() == {"channel_order": "RGB", "mean": 127.5, "std": 127.5}
    facts = parse_preprocess("vggface2").facts()
    assert facts["mean"] == [91.4953, 103.8827, 131.0912]
    assert facts["std"] == 1.0
    assert facts["resized_to"] == 224


@pytest.mark.parametrize(("before", "after"), [(14, 20), (40, 16)])
def test_resizing_is_pillows_bilinear(before, after):
    pixels = np.random.default_rng(1).integers(0, 256, (before, before, 3), np.uint8)
    resized = np.asarray(Image.fromarray(pixels).resize((after, after), Image.Resampling.BILINEAR), np.float64)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    found = apply(Preprocess("RGB", (0.0,), (1.0,), after), x)[0].permute(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), resized, rtol=0, atol=1.01)  # Pillow rounds after each of two passes


def test_a_picture_of_that_size_stays_as_it_is():
    np.testing.assert_array_equal(apply(Preprocess("RGB", (127.5,), (127.5,), 6), ours(PIXELS)), ours(PIXELS))


def test_values_given_and_stored_are_checked():
    assert given_values("mean", None) is None
    assert given_values("mean", 3) == (3.0,)
    assert given_values("mean", [1, 2, 3]) == (1.0, 2.0, 3.0)
    with pytest.raises(InputError, match="--mean"):
        given_values("mean", [1, 2])
    assert stored_preprocess({"channel_order": "BGR", "mean": [1, 2, 3]}, "a") == Preprocess("BGR", (1.0, 2.0, 3.0))
    with pytest.raises(InputError, match="a says channel_order 'GBR'"):
        stored_preprocess({"channel_order": "GBR"}, "a")
    for bad in ("half", 0, [1, 2], {"r": 1}):
        with pytest.raises(InputError, match="a says mean None and std"):
            stored_preprocess({"std": bad}, "a")
