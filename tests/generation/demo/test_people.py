"""Portraits and their words, against the masks of the same heads; words as vectors."""

import numpy as np
import pytest
import torch

from generation.demo import people
from generation.demo.people import NOBODY, SIDE, WORD_WIDTH, portraits, words_as_vectors
from recognition.heads import Class, aligned, draw_person, draw_scene

FACES = [(number, 7 * number) for number in range(24)]
DOMAIN = 5


@pytest.fixture(scope="module")
def drawn():
    return portraits(FACES, seed=3, domain=DOMAIN)


def test_a_portrait_says_glasses_where_the_head_wears_them(drawn):
    said, worn = [], []
    for (number, index), portrait in zip(FACES, drawn):
        scene = people._studio(draw_scene(3, index, domain=DOMAIN))
        mask_HW = aligned(draw_person(3, number, domain=DOMAIN), scene, 112).mask_HW
        said.append("glasses" in portrait.words)
        worn.append(bool((mask_HW == Class.EYEGLASSES).any()))
    assert said == worn
    assert 0 < sum(worn) < len(worn)


def test_the_hair_is_as_dark_as_it_is_said_to_be(drawn):
    brightness = {"black hair": [], "blond hair": []}
    for (number, index), portrait in zip(FACES, drawn):
        scene = people._studio(draw_scene(3, index, domain=DOMAIN))
        picture = aligned(draw_person(3, number, domain=DOMAIN), scene, SIDE)
        for word in brightness.keys() & set(portrait.words):
            brightness[word] += picture.pixels_HWC[picture.mask_HW == Class.HAIR].mean(1).tolist()
    assert np.mean(brightness["blond hair"]) > 2 * np.mean(brightness["black hair"]) > 0


def test_all_portraits_have_as_many_words_and_nobody_a_name(drawn):
    assert {len(portrait.words) for portrait in drawn} == {10}
    assert {portrait.words[0] for portrait in drawn} == {NOBODY}
    named = portraits(FACES[:2], seed=3, domain=DOMAIN, names=["anna", "ben"])
    assert [portrait.words[0] for portrait in named] == ["anna", "ben"]
    assert [portrait.words[1:] for portrait in named] == [portrait.words[1:] for portrait in drawn[:2]]


def test_a_word_is_a_vector_whatever_stands_beside_it():
    first, second = words_as_vectors(["anna", "young"]), words_as_vectors(["old", "anna"])
    assert first["prompt_embeds"].shape == (2, WORD_WIDTH)
    assert torch.equal(first["prompt_embeds"][0], second["prompt_embeds"][1])
    assert torch.allclose(first["pooled_prompt_embeds"], first["prompt_embeds"].sum(0) / 2**0.5)
    different = torch.cosine_similarity(first["prompt_embeds"][1], second["prompt_embeds"][0], dim=0)
    assert abs(different) < 4 / WORD_WIDTH**0.5  # four deviations of random directions
