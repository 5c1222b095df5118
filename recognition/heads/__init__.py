"""Heads of people who do not exist, drawn from numbers: pictures with exact points, pose and classes of the pixels."""

from recognition.heads.attributes import attributes
from recognition.heads.classes import NAMES, Class
from recognition.heads.person import Beard, HairColour, HairStyle, Person, draw_person
from recognition.heads.picture import Picture, aligned, render
from recognition.heads.rotation import pose_of, rotation_of
from recognition.heads.scene import Scene, draw_scene

__all__ = [
    "NAMES",
    "Beard",
    "Class",
    "HairColour",
    "HairStyle",
    "Person",
    "Picture",
    "Scene",
    "aligned",
    "attributes",
    "draw_person",
    "draw_scene",
    "pose_of",
    "render",
    "rotation_of",
]
