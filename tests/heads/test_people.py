"""People differ in many ways, and what is said of one is to be seen."""

import dataclasses

import numpy as np

from recognition.heads import Class, HairColour, Scene, attributes, draw_person, draw_scene, render


def grey(picture, *classes):
    """The mean brightness of the pixels of some classes."""
    return picture.pixels_HWC[np.isin(picture.mask_HW, classes)].mean()


def test_people_differ_in_many_ways():
    people = [vars(draw_person(0, number)) for number in range(300)]
    numeric = [name for name, value in people[0].items() if isinstance(value, float)]
    measures = np.array([[person[name] for name in numeric] for person in people])
    standard = (measures - measures.mean(0)) / measures.std(0)
    assert len(numeric) >= 40
    # Directions with at least half the variance of an independent measure.
    assert (np.linalg.svd(standard / np.sqrt(300))[1] > np.sqrt(0.5)).sum() >= 30
    assert draw_person(0, 1) == draw_person(0, 1)
    for other in (draw_person(0, 2), draw_person(1, 1), draw_person(0, 1, domain=1)):
        assert other != draw_person(0, 1)


def test_an_attribute_that_is_given_changes_nothing_that_is_drawn_apart_from_it():
    for number in range(20):
        person = draw_person(0, number)
        for colour in HairColour:
            dyed = draw_person(0, number, hair_colour=colour)
            assert dyed.hair_colour is colour
            assert dataclasses.replace(dyed, hair_colour=person.hair_colour, hair=person.hair) == person
        other = draw_person(0, number, eyeglasses=not person.eyeglasses)
        assert dataclasses.replace(other, eyeglasses=person.eyeglasses) == person
        man, woman = draw_person(0, number, male=True), draw_person(0, number, male=False)
        for name in ("skin", "eye_distance", "moles", "frame"):
            assert getattr(man, name) == getattr(woman, name)
        assert man.jaw_width > woman.jaw_width
        young, old = draw_person(0, number, young=True), draw_person(0, number, young=False)
        may_differ = ("young", "hair_colour", "hair", "hair_style", "hairline")
        assert {**vars(young), **{name: vars(old)[name] for name in may_differ}} == vars(old)


def test_attributes_are_to_be_seen():
    scene = Scene(backdrop=((1.0, 1.0, 1.0),))
    haired = [n for n in range(7) if not attributes(draw_person(0, n), scene)["Bald"]]
    for number in haired:
        by_colour = [
            grey(render(draw_person(0, number, hair_colour=colour), scene, 64), Class.HAIR)
            for colour in (HairColour.BLACK, HairColour.BROWN, HairColour.BLOND)
        ]
        assert by_colour == sorted(by_colour)
        assert by_colour[2] > by_colour[0] + 40
    person = draw_person(0, 1)
    neutral, smiling = (render(person, Scene(smile=smile), 112) for smile in (0.0, 1.0))
    assert (smiling.points_52[3:, 1] < neutral.points_52[3:, 1] - 1).all(), "the corners go up"
    assert np.ptp(smiling.points_52[3:, 0]) > np.ptp(neutral.points_52[3:, 0]) + 2, "and apart"
    assert attributes(person, Scene(smile=1.0))["Smiling"]
    assert not attributes(person, Scene(smile=0.0))["Smiling"]
    assert not attributes(draw_person(0, 1, eyeglasses=True), Scene(glasses_off=True))["Eyeglasses"]


def test_attributes_are_as_frequent_as_they_should_be():
    people = [attributes(draw_person(0, n), draw_scene(0, n)) for n in range(400)]
    share = {name: np.mean([person[name] for person in people]) for name in people[0]}
    for name, (least, most) in {
        "Male": (0.4, 0.6), "Young": (0.55, 0.75), "Eyeglasses": (0.12, 0.28), "Smiling": (0.35, 0.55),
        "Black_Hair": (0.3, 0.65), "Brown_Hair": (0.12, 0.4), "Blond_Hair": (0.05, 0.25), "No_Beard": (0.5, 0.7),
    }.items():  # fmt: skip
        assert least < share[name] < most, name
    colours = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair", "Bald")
    assert all(sum(person[name] for name in colours) == 1 for person in people)
