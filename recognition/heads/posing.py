"""The parts of a person, put together and turned: the head by the pose, the shoulders by less, the neck between."""

from __future__ import annotations

import numpy as np

from recognition.heads.curves import step
from recognition.heads.mesh import Mesh, joined, turned
from recognition.heads.parts import ears, falling_hair, glasses, head, neck, shoulders
from recognition.heads.rotation import rotation_of
from recognition.heads.skull import Skull


def posed(skull: Skull) -> Mesh:
    """All of a person as one mesh in the frame of the camera."""
    scene = skull.scene
    head_turn, body_turn = rotation_of(scene.pose_deg), rotation_of((0, scene.body_yaw_deg, 0))
    with_head = [head(skull), *ears(skull), *(glasses(skull) if wears_glasses(skull) else [])]
    meshes = [_turned(mesh, head_turn, body_turn, 0.0, 0.0) for mesh in with_head]
    meshes.append(_turned(neck(skull), head_turn, body_turn, 0.75, 1.6))
    meshes.append(_turned(shoulders(skull), body_turn, body_turn, 0.0, 0.0))
    hanging = falling_hair(skull)
    if hanging is not None:
        meshes.append(_turned(hanging, head_turn, body_turn, 0.5, 2.4))
    return joined(meshes)


def wears_glasses(skull: Skull) -> bool:
    """Whether glasses are to be seen."""
    return skull.person.eyeglasses and not skull.scene.glasses_off


def _turned(mesh: Mesh, upper_33: np.ndarray, lower_33: np.ndarray, top: float, bottom: float) -> Mesh:
    """The mesh turned by `upper` above y = top and by `lower` below y = bottom, and between by a blend of both."""
    places, normals = turned(mesh.places_V3, upper_33), turned(mesh.normals_V3, upper_33)
    if bottom > top:
        share = step(mesh.places_V3[:, 1], top, bottom)[:, None]
        places = places + (turned(mesh.places_V3, lower_33) - places) * share
        normals = normals + (turned(mesh.normals_V3, lower_33) - normals) * share
    return mesh.moved(places, normals)
