"""The meshes are closed and face outwards, and the face's explicit depth is the depth of the mesh that is drawn."""

import numpy as np
import pytest

from recognition.heads import HairStyle, Scene, draw_person, draw_scene
from recognition.heads.mesh import Part
from recognition.heads.parts import ears, falling_hair, glasses, head, neck, shoulders
from recognition.heads.posing import posed
from recognition.heads.skull import Skull

PEOPLE = range(6)
LONG = next(n for n in range(99) if draw_person(0, n).hair_style is HairStyle.LONG)


def corners(mesh):
    return np.moveaxis(mesh.places_V3[mesh.corners_T3].astype(float), 1, 0)


@pytest.mark.parametrize("number", PEOPLE)
def test_closed_surfaces_enclose_a_volume_of_their_size(number):
    skull = Skull(draw_person(0, number), draw_scene(0, number))
    for mesh, least, most in ((head(skull), 2.5, 8.0), *((ear, 0.005, 0.2) for ear in ears(skull))):
        a, b, c = corners(mesh)
        # Positive where the normals point outwards.
        assert least < (a * np.cross(b, c)).sum() / 6 < most
        # Every edge is used once in each direction, so there is no hole; poles are rows of equal vertices.
        _, point = np.unique(mesh.places_V3.round(5), axis=0, return_inverse=True)
        edges = point[mesh.corners_T3[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)]
        edges = edges[edges[:, 0] != edges[:, 1]]
        assert sorted(map(tuple, edges.tolist())) == sorted(map(tuple, edges[:, ::-1].tolist()))


@pytest.mark.parametrize("number", [*PEOPLE, LONG])
def test_normals_have_length_one_and_point_outwards(number):
    skull = Skull(draw_person(0, number, eyeglasses=True), draw_scene(0, number))
    parts = [head(skull), *ears(skull), neck(skull), shoulders(skull), *glasses(skull)]
    if (hanging := falling_hair(skull)) is not None:
        parts.append(hanging)
    for mesh in parts:
        np.testing.assert_allclose(np.linalg.norm(mesh.normals_V3, axis=1), 1, atol=1e-5)
        a, b, c = corners(mesh)
        facet = np.cross(b - a, c - a)
        along = (facet * mesh.normals_V3[mesh.corners_T3].sum(1)).sum(1)
        weight = np.linalg.norm(facet, axis=1)
        assert weight[along < 0].sum() < 0.02 * weight.sum()


def test_long_hair_is_there_for_those_who_have_it():
    assert falling_hair(Skull(draw_person(0, LONG), Scene())) is not None
    for number in PEOPLE:
        person = draw_person(0, number)
        hanging = falling_hair(Skull(person, Scene()))
        assert (hanging is not None) == (person.hair_style in (HairStyle.BOB, HairStyle.LONG))


@pytest.mark.parametrize("number", PEOPLE)
def test_the_depth_of_the_face_is_the_depth_of_the_mesh(number):
    skull = Skull(draw_person(0, number), draw_scene(0, number))
    mesh = head(skull)
    u, v, z = mesh.surface_V3.T
    bare = (np.abs(u) < 0.45) & (v > -0.2) & (v < 0.85) & (z > 0.3)
    assert bare.sum() > 800
    np.testing.assert_allclose(skull.face(u[bare], v[bare]), mesh.places_V3[bare], atol=2e-5)
    eye, corner = skull.person.eye_distance, skull.mouth_half_width
    left_eye, right_eye, nose, left_mouth, right_mouth = skull.points
    assert (left_eye[0], right_eye[0], nose[0]) == (np.float32(-eye), np.float32(eye), 0)
    assert (left_mouth[0], right_mouth[0]) == (np.float32(-corner), np.float32(corner))
    middle = mesh.places_V3[(np.abs(u) < 0.02) & (v > 0) & (v < 0.6) & (z > 0.3)]
    assert nose[2] >= middle[:, 2].max() - 0.02, "nothing in the middle of the face stands out further than the nose"


def test_only_what_belongs_to_the_head_turns_with_it():
    person = draw_person(0, 3)
    still, turned = (posed(Skull(person, Scene(pose_deg=pose))) for pose in ((0, 0, 0), (10, 40, 20)))
    moved = np.abs(still.places_V3 - turned.places_V3).max(1)
    by_part = {part: moved[still.corners_T3[still.parts_T == part]].max() for part in (Part.HEAD, Part.CLOTH)}
    assert by_part[Part.CLOTH] == 0
    assert by_part[Part.HEAD] > 0.3
