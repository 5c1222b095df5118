"""A person who does not exist: the measures and colours of a head, drawn from (seed, number)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from recognition.heads.numbers import Numbers

Colour = tuple[float, float, float]
T = TypeVar("T")
_PERSON = 0x506572736F6E


class HairColour(str, Enum):
    """As CelebA names hair; grey is none of its three."""

    BLACK, BLOND, BROWN, GREY = "black", "blond", "brown", "grey"


class HairStyle(str, Enum):
    """How much hair, and where it falls."""

    BALD, CROPPED, SHORT, FRINGE, BOB, LONG = "bald", "cropped", "short", "fringe", "bob", "long"


class Beard(str, Enum):
    """What grows on the lower face."""

    NONE, STUBBLE, MOUSTACHE, GOATEE, FULL = "none", "stubble", "moustache", "goatee", "full"


@dataclass(frozen=True)
class Person:
    """Measures in decimetres or as factors of the usual head's, colours as sRGB in [0, 1].

    Lengths along the face count from the line of the eyes, downwards.
    """

    male: bool
    young: bool
    eyeglasses: bool
    beard: Beard
    hair_colour: HairColour
    hair_style: HairStyle

    skull_width: float
    skull_height: float
    cheek_width: float
    jaw_width: float
    jaw_square: float
    chin_length: float
    chin_forward: float
    cheekbones: float
    fullness: float
    brow_ridge: float
    forehead_slope: float

    eye_distance: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    eye_depth: float
    lid_fold: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_width: float
    brow_tilt: float

    nose_length: float
    nose_height: float
    nose_width: float
    nose_bridge: float
    nose_root: float
    nose_tip: float

    mouth_gap: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    lip_bow: float

    ear_size: float
    ear_flare: float
    neck_width: float
    shoulder_width: float

    hairline: float
    hair_volume: float
    hair_parting: float
    hair_length: float

    skin: Colour
    iris: Colour
    hair: Colour
    lips: Colour
    redness: float
    freckles: float
    patches: tuple[float, float, float, float]
    moles: tuple[tuple[float, float, float], ...]
    frame_size: float
    frame_square: float
    frame: Colour


def draw_person(
    seed: int,
    number: int,
    *,
    domain: int = 0,
    male: bool | None = None,
    young: bool | None = None,
    eyeglasses: bool | None = None,
    beard: Beard | None = None,
    hair_colour: HairColour | None = None,
) -> Person:
    """Person `number` of those that belong to `seed`; different domains hold different people.

    An attribute that is given replaces the one that would be drawn, and no other number: the same person, changed.
    """
    draw = Numbers(seed, _PERSON, domain, number)
    male, young = _given(male, draw.chance(0.5)), _given(young, draw.chance(0.65))
    eyeglasses = _given(eyeglasses, draw.chance(0.25))
    tone = draw.between(0, 1)
    hair_colour = _given(hair_colour, _hair_colour(draw, tone, young))
    hair = _hair(draw, hair_colour)
    skin = _skin(draw, tone)
    beard = _given(beard, draw.one_of(tuple(Beard) if male else (Beard.NONE,)))
    style = draw.one_of(_STYLES[male])
    if draw.chance(0.3) and male and not young:
        style = HairStyle.BALD
    return Person(
        male=male,
        young=young,
        eyeglasses=eyeglasses,
        beard=beard,
        hair_colour=hair_colour,
        hair_style=style,
        skull_width=draw.near(1.0, 0.09),
        skull_height=draw.near(1.0, 0.10),
        cheek_width=draw.near(1.0 if male else 0.98, 0.09),
        jaw_width=draw.near(1.04 if male else 0.94, 0.15),
        jaw_square=draw.near(0.30 if male else 0.05, 0.4),
        chin_length=draw.near(1.03 if male else 0.96, 0.12),
        chin_forward=draw.near(0.0, 0.09),
        cheekbones=draw.near(0.05, 0.06),
        fullness=draw.near(0.0, 0.07),
        brow_ridge=draw.near(0.06 if male else 0.02, 0.05),
        forehead_slope=draw.near(0.0, 0.10),
        eye_distance=draw.near(0.315, 0.045),
        eye_width=draw.near(0.158, 0.03),
        eye_height=draw.near(0.066 if male else 0.074, 0.026),
        eye_tilt=draw.near(0.06, 0.20),
        eye_depth=draw.near(0.10, 0.05),
        lid_fold=draw.between(0.0, 1.0),
        brow_height=draw.near(0.175 if male else 0.195, 0.06),
        brow_thickness=draw.near(0.036 if male else 0.025, 0.018),
        brow_arch=draw.near(0.035, 0.045),
        brow_width=draw.near(0.20, 0.04),
        brow_tilt=draw.near(-0.12, 0.20),
        nose_length=draw.near(0.42, 0.09),
        nose_height=draw.near(0.185 if male else 0.165, 0.07),
        nose_width=draw.near(0.175 if male else 0.16, 0.06),
        nose_bridge=draw.near(0.75, 0.45),
        nose_root=draw.near(0.045, 0.03),
        nose_tip=draw.near(0.035, 0.03),
        mouth_gap=draw.near(0.26, 0.06),
        mouth_width=draw.near(0.25, 0.06),
        upper_lip=draw.near(0.055 if male else 0.065, 0.035),
        lower_lip=draw.near(0.075 if male else 0.09, 0.04),
        lip_bow=draw.near(0.35, 0.35),
        ear_size=draw.near(1.0, 0.25),
        ear_flare=draw.near(0.45, 0.3),
        neck_width=draw.near(0.55 if male else 0.46, 0.07),
        shoulder_width=draw.near(2.1 if male else 1.8, 0.25),
        hairline=draw.near(-0.66, 0.14) - (0.0 if young or not male else 0.10),
        hair_volume=draw.near(0.14, 0.10),
        hair_parting=draw.between(-0.4, 0.4),
        hair_length=draw.between(1.35, 2.2),
        skin=skin,
        iris=_iris(draw, tone),
        hair=hair,
        lips=_lips(draw, skin, male),
        redness=draw.between(0, 1),
        freckles=max(0.0, draw.between(-1.2, 1.0)) * (1 - tone),
        patches=(draw.between(3, 7), draw.between(0, 1), draw.between(3, 7), draw.between(0, 1)),
        moles=tuple(
            (draw.between(-0.55, 0.55), draw.between(-0.5, 0.95), draw.between(0.012, 0.028))
            for _ in range(int(draw.between(0, 3.5)))
        ),
        frame_size=draw.near(1.0, 0.18),
        frame_square=draw.between(0, 1),
        frame=draw.one_of(((0.06, 0.06, 0.07), (0.30, 0.17, 0.09), (0.45, 0.42, 0.38), (0.45, 0.08, 0.10))),
    )


_STYLES = {
    True: (HairStyle.CROPPED, HairStyle.SHORT, HairStyle.SHORT, HairStyle.FRINGE, HairStyle.BOB),
    False: (HairStyle.SHORT, HairStyle.FRINGE, HairStyle.BOB, HairStyle.BOB, HairStyle.LONG, HairStyle.LONG),
}
_HAIR = {
    HairColour.BLACK: ((0.05, 0.04, 0.04), (0.14, 0.11, 0.10)),
    HairColour.BROWN: ((0.22, 0.13, 0.08), (0.42, 0.26, 0.15)),
    HairColour.BLOND: ((0.66, 0.50, 0.28), (0.88, 0.76, 0.52)),
    HairColour.GREY: ((0.48, 0.48, 0.48), (0.80, 0.80, 0.79)),
}
# From light to dark.
_SKIN = ((0.95, 0.79, 0.69), (0.88, 0.68, 0.54), (0.74, 0.53, 0.39), (0.52, 0.35, 0.25), (0.34, 0.22, 0.16))
_IRIS = ((0.30, 0.47, 0.62), (0.36, 0.46, 0.36), (0.47, 0.38, 0.20), (0.33, 0.20, 0.11), (0.17, 0.10, 0.06))


def _given(value: T | None, drawn: T) -> T:
    return drawn if value is None else value


def _hair_colour(draw: Numbers, tone: float, young: bool) -> HairColour:
    # Both are drawn in any case, so that those who share a number share all that follows.
    aged = draw.chance(0.05 if young else 0.4)
    colour = draw.one_of((HairColour.BLACK, HairColour.BROWN, HairColour.BROWN, HairColour.BLOND))
    if aged:
        return HairColour.GREY
    return HairColour.BLACK if tone > 0.6 else colour


def _hair(draw: Numbers, colour: HairColour) -> Colour:
    dark, light = _HAIR[colour]
    return _mixed(dark, light, draw.between(0, 1))


def _skin(draw: Numbers, tone: float) -> Colour:
    step = tone * (len(_SKIN) - 1)
    below = int(step)
    red, green, blue = _mixed(_SKIN[below], _SKIN[below + 1], step - below)
    warmth = draw.near(0, 0.06)
    return (red * (1 + warmth * 0.5), green, blue * (1 - warmth))


def _iris(draw: Numbers, tone: float) -> Colour:
    place = draw.between(0, 3.2) if tone < 0.5 else draw.between(2.4, 4)
    below = min(int(place), len(_IRIS) - 2)
    return _mixed(_IRIS[below], _IRIS[below + 1], place - below)


def _lips(draw: Numbers, skin: Colour, male: bool) -> Colour:
    depth = draw.between(0.25, 0.55) if male else draw.between(0.4, 1.0)
    return _mixed(skin, (0.72 * skin[0], 0.36 * skin[1], 0.42 * skin[2]), depth)


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(a + (b - a) * share for a, b in zip(one, other))
