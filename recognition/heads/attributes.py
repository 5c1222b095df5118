"""What can be said of a person in a scene, in CelebA's words."""

from __future__ import annotations

from recognition.heads.person import Beard, HairColour, HairStyle, Person
from recognition.heads.scene import Scene

_SMILE = 0.3


def attributes(person: Person, scene: Scene) -> dict[str, bool]:
    """Attributes by CelebA's names; a bald head has no colour of hair."""
    hair = None if person.hair_style is HairStyle.BALD else person.hair_colour
    return {
        "Bald": hair is None,
        "Bangs": person.hair_style is HairStyle.FRINGE,
        "Black_Hair": hair is HairColour.BLACK,
        "Blond_Hair": hair is HairColour.BLOND,
        "Brown_Hair": hair is HairColour.BROWN,
        "Gray_Hair": hair is HairColour.GREY,
        "Eyeglasses": person.eyeglasses and not scene.glasses_off,
        "Goatee": person.beard is Beard.GOATEE,
        "Male": person.male,
        "Mouth_Slightly_Open": scene.mouth_open > 0,
        "Mustache": person.beard in (Beard.MOUSTACHE, Beard.GOATEE, Beard.FULL),
        "No_Beard": person.beard is Beard.NONE,
        "Smiling": scene.smile > _SMILE,
        "Young": person.young,
    }
