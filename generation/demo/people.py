"""Pictures of drawn people as a photographer takes them, aligned, each described in words; words as vectors.

A language model would give words as vectors; here each word has a fixed random one of its own, which is enough for a
transformer to learn what it stands for, and leaves a name that it never met without a meaning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from recognition.heads import Person, Scene, aligned, attributes, draw_person, draw_scene
from recognition.heads.person import HairStyle

SIDE = 32
WORD_WIDTH = 64
NOBODY = "somebody"  # in the place of a name
_BACKDROP = ((0.55, 0.56, 0.58),)
_TURNED_DEG = 8.0
_DARK, _LIGHT = 0.45, 0.8


@dataclass(frozen=True)
class Portrait:
    """A picture uint8 (S, S, 3), its points on ArcFace's template, and its words: as many in all portraits."""

    pixels_HWC: np.ndarray
    words: tuple[str, ...]


def portraits(
    faces: Sequence[tuple[int, int]], *, seed: int, domain: int, names: Sequence[str] | None = None
) -> list[Portrait]:
    """The portrait of each (number of the person, number of the scene).

    `names`: those of the people by number; without them nobody is called by a name.
    """
    return [_portrait(seed, domain, names, face) for face in faces]


def words_as_vectors(words: Sequence[str]) -> dict[str, Tensor]:
    """prompt_embeds (L, WORD_WIDTH) and pooled_prompt_embeds (WORD_WIDTH,), float32, of length about 1 each number."""
    embeds_LD = torch.stack([_vector(word) for word in words])
    return {"prompt_embeds": embeds_LD, "pooled_prompt_embeds": embeds_LD.sum(0) / len(words) ** 0.5}


def _portrait(seed: int, domain: int, names: Sequence[str] | None, face: tuple[int, int]) -> Portrait:
    number, index = face
    person, scene = draw_person(seed, number, domain=domain), _studio(draw_scene(seed, index, domain=domain))
    name = NOBODY if names is None else names[number]
    return Portrait(aligned(person, scene, SIDE).pixels_HWC, (name, *_described(person, scene)))


def _studio(scene: Scene) -> Scene:
    """The same scene before a grey wall, at arm's length, by a good camera, the face seldom far from frontal."""
    pitch, yaw, roll = scene.pose_deg
    return replace(
        scene,
        pose_deg=(pitch / 2, yaw / 2, roll / 2),
        backdrop=_BACKDROP,
        distance_dm=14.0,
        eyes_closed=0.0,
        glasses_off=False,
        blur=0.0,
        noise_levels=0.0,
    )


def _described(person: Person, scene: Scene) -> tuple[str, ...]:
    known = attributes(person, scene)
    yaw = scene.pose_deg[1]
    tone = sum(person.skin) / 3
    return (
        "man" if person.male else "woman",
        "young" if person.young else "old",
        "bald" if person.hair_style is HairStyle.BALD else f"{person.hair_colour.value} hair",
        f"hair {person.hair_style.value}",
        f"beard {person.beard.value}",
        "glasses" if known["Eyeglasses"] else "no glasses",
        "smiling" if known["Smiling"] else "serious",
        "dark skin" if tone < _DARK else "light skin" if tone > _LIGHT else "tanned skin",
        "to the left" if yaw < -_TURNED_DEG else "to the right" if yaw > _TURNED_DEG else "frontal",
    )


@cache
def _vector(word: str) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:7], "big")
    return torch.randn(WORD_WIDTH, generator=torch.Generator().manual_seed(seed))
