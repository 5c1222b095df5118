"""Synthetic faces: determined by numbers, told apart by identity, disjoint between training and verification."""

import numpy as np

from recognition.data.sources import SyntheticSource
from recognition.data.synthetic import PAIRS, TRAINING, FaceRenderer, drawn_pairs


def features(images):
    """The middle of the picture, where the background is not, at a quarter of the size."""
    images = np.asarray(images, np.float32)[:, 16:96, 24:88] / 255
    return images.reshape(len(images), 20, 4, 16, 4, 3).mean((2, 4)).reshape(len(images), -1)


def test_an_image_depends_on_its_numbers_alone():
    draw = FaceRenderer(112).draw
    image = draw(5, TRAINING, 3, 17)
    assert image.shape == (112, 112, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert (image == FaceRenderer(112).draw(5, TRAINING, 3, 17)).all()
    for other in (draw(6, TRAINING, 3, 17), draw(5, PAIRS, 3, 17), draw(5, TRAINING, 4, 17), draw(5, TRAINING, 3, 18)):
        assert np.abs(image.astype(int) - other).mean() > 3


def test_labels_cycle_through_the_classes():
    source = SyntheticSource(num_classes=7, num_image=20, image_size=32)
    assert len(source) == 20
    assert [source.read(i).label for i in range(20)] == [i % 7 for i in range(20)]
    assert source.read(0).payload.shape == (32, 32, 3)


def test_identities_can_be_learned_from_images_and_recognised_in_new_ones():
    source = SyntheticSource(num_classes=30, num_image=600)
    samples = [source.read(i) for i in range(600)]
    x, y = features([s.payload for s in samples]), np.array([s.label for s in samples])
    # Ridge regression onto one-hot labels, in its dual form: the simplest linear classifier.
    dual = np.linalg.solve(x[:480] @ x[:480].T + 0.1 * np.eye(480), np.eye(30)[y[:480]])
    guesses = (x[480:] @ x[:480].T @ dual).argmax(1)
    assert (guesses == y[480:]).mean() > 0.9


def test_background_and_light_say_nothing_about_the_identity():
    source = SyntheticSource(num_classes=30, num_image=600)
    samples = [source.read(i) for i in range(600)]
    corner = np.array([s.payload[:6, :6].mean((0, 1)) for s in samples]) / 255
    labels = np.array([s.label for s in samples])
    centres = np.array([corner[:480][labels[:480] == c].mean(0) for c in range(30)])
    guesses = np.linalg.norm(corner[480:, None] - centres, axis=-1).argmin(1)
    assert (guesses == labels[480:]).mean() < 0.15


def test_pairs_are_balanced_and_repeatable():
    images, issame = drawn_pairs(FaceRenderer(64), 20, seed=1)
    again, _ = drawn_pairs(FaceRenderer(64), 20, seed=1)
    assert images.shape == (40, 64, 64, 3)
    assert images.dtype == np.uint8
    assert issame.dtype == bool
    assert (images == again).all()
    assert (issame.reshape(10, 2).sum(1) == 1).all()


def test_genuine_pairs_are_more_alike_than_impostor_pairs():
    images, issame = drawn_pairs(FaceRenderer(112), 200)
    x = features(images)
    distance = np.linalg.norm(x[0::2] - x[1::2], axis=1)
    assert np.median(distance[issame]) < 0.8 * np.median(distance[~issame])


def test_people_in_pairs_are_not_those_of_training():
    draw = FaceRenderer(112).draw

    def mean_face(domain, indices):
        return features([draw(0, domain, 3, index) for index in indices]).mean(0)

    person, same, namesake = (
        mean_face(TRAINING, range(20)),
        mean_face(TRAINING, range(20, 40)),
        mean_face(PAIRS, range(20)),
    )
    assert np.linalg.norm(person - namesake) > 3 * np.linalg.norm(person - same)


def test_every_image_size_works():
    for size in (16, 112, 160, 224):
        assert FaceRenderer(size).draw(0, TRAINING, 0, 0).shape == (size, size, 3)
