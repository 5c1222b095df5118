"""Heads as a training set and as pairs to verify on, by the names that configs use."""

import numpy as np
import pytest

from recognition.config import ConfigError, load_config
from recognition.data.sources import DRAWN, HeadsSource, open_source
from recognition.data.synthetic import PAIRS, TRAINING, drawn_pairs
from recognition.errors import InputError
from recognition.faces.alignment import template_points
from recognition.heads import aligned, draw_person, draw_scene
from recognition.heads.renderer import HeadRenderer
from recognition.runtime import Runtime
from recognition.training.evaluation import open_targets
from tests.conftest import CONFIGS

SIZE = 48


def difference(one, other):
    """In the middle of two faces on the template, in levels."""
    x, y = np.rint(template_points(112).mean(0)).astype(int)
    middle = np.s_[y - 30 : y + 30, x - 25 : x + 25]
    return np.abs(one[middle].astype(int) - other[middle]).mean()


def test_a_set_of_heads_opens_by_its_name():
    source = open_source("heads", num_classes=5, num_image=12, seed=3, image_size=SIZE)
    assert isinstance(source, HeadsSource)
    assert (len(source), source.num_classes) == (12, 5)
    assert source.labels().tolist() == [i % 5 for i in range(12)]
    sample = source.read(7)
    assert sample.label == 2
    assert (sample.payload == HeadRenderer(SIZE).draw(3, TRAINING, 2, 7)).all()
    assert source.describe(7) == "heads image 7"
    with pytest.raises(InputError, match='rec="heads" can draw any number of identities; set num_classes'):
        open_source("heads")


def test_a_small_set_is_drawn_once_and_a_large_one_each_time(monkeypatch):
    small = HeadsSource(num_classes=5, num_image=12, image_size=SIZE)
    first = small.read(3)
    assert small.read(np.int64(3)) is first
    assert not first.payload.flags.writeable
    monkeypatch.setattr(HeadsSource, "MOST_KEPT_BYTES", 12 * 3 * SIZE * SIZE - 1)
    large = HeadsSource(num_classes=5, num_image=12, image_size=SIZE)
    assert large.read(3) is not large.read(3)
    assert (large.read(3).payload == first.payload).all()


def test_pictures_of_a_label_show_one_person_in_different_scenes():
    renderer = HeadRenderer(112)
    picture = renderer.draw(0, TRAINING, 4, 9)
    # But for a detector's errors it is the person, in the scene, on the template.
    exact = aligned(draw_person(0, 4), draw_scene(0, 9), 112)
    for other in ((0, TRAINING, 4, 10), (0, TRAINING, 5, 9), (0, PAIRS, 4, 9), (1, TRAINING, 4, 9)):
        assert difference(picture, renderer.draw(*other)) > 1.5 * difference(picture, exact.pixels_HWC)
    # So it is in the other domain, whose people and scenes are its own.
    pairs = aligned(draw_person(0, 4, domain=PAIRS), draw_scene(0, 9, domain=PAIRS), 112).pixels_HWC
    stranger = aligned(draw_person(0, 4), draw_scene(0, 9, domain=PAIRS), 112).pixels_HWC
    picture = renderer.draw(0, PAIRS, 4, 9)
    assert difference(picture, stranger) > 1.5 * difference(picture, pairs)


def test_pairs_are_balanced_repeatable_and_of_other_people():
    renderer = HeadRenderer(SIZE)
    images, issame = drawn_pairs(renderer, 4, seed=1)
    assert images.shape == (8, SIZE, SIZE, 3)
    assert issame.tolist() == [True, False, True, False]
    # People of pairs are numbered in a domain of their own: 0, 0 | 2, 3 | 4, 4 | 6, 7.
    for index, label in enumerate((0, 0, 2, 3, 4, 4, 6, 7)):
        assert (images[index] == renderer.draw(1, PAIRS, label, index)).all()


def test_a_config_names_heads_to_train_and_to_verify_on(monkeypatch):
    monkeypatch.setattr(HeadsSource, "num_pairs", 10)
    given = ["rec=heads", "num_classes=9", "num_image=20", "val_targets=heads,synthetic", f"image_size={SIZE}"]
    cfg = load_config(CONFIGS / "base.py", given)
    targets = open_targets(cfg, Runtime())
    assert {name: len(target.pairs.issame) for name, target in targets.items()} == {"heads": 10, "synthetic": 120}
    with pytest.raises(ConfigError, match="rec='heads' has as many identities as you ask for; set num_classes"):
        load_config(CONFIGS / "base.py", ["rec=heads", "num_image=20"])
    with pytest.raises(ConfigError, match="rec='heads' has as many images as you ask for; set num_image"):
        load_config(CONFIGS / "base.py", ["rec=heads", "num_classes=20"])


def test_names_of_drawn_sets():
    assert list(DRAWN) == ["synthetic", "heads"]
    for name, kind in DRAWN.items():
        assert kind.name == name
        assert kind(num_classes=2, image_size=16).read(1).payload.shape == (16, 16, 3)
