"""The list of samples: each kind of bad line is named by its place, its key and what to do."""

import pytest

from generation.lora.rows import read_rows
from recognition.errors import InputError
from tests.generation.lora.small_lora import write_rows

GOOD = {"image": "a.png", "ref_image": "b.png", "prompt_embeds": "c.safetensors", "data_type": "person"}


def read(tmp_path, *lines, needs_references=True, has_text_encoders=False):
    path = write_rows(tmp_path / "list.jsonl", list(lines))
    return read_rows(path, needs_references=needs_references, has_text_encoders=has_text_encoders)


def without(*keys, **others):
    return {key: value for key, value in GOOD.items() if key not in keys} | others


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", ["no JSON", "one object a line"]),
        ('{"image": "a", "image": "b"}', ["given twice"]),
        ("[1]", ["no JSON object"]),
        (without(imge="a.png"), ["'imge'", "did you mean 'image'"]),
        (without(image=3), ["image wants text, not 3"]),
        (without(image=""), ["image wants text"]),
        (without("image"), ["image is missing"]),
        (without("data_type"), ["data_type is missing"]),
        (without("prompt_embeds"), ["one of prompt_embeds"]),
        (without(prompt="a man"), ["one of prompt_embeds"]),
        (without("prompt_embeds", prompt="a man"), ["text_encoders is not set"]),
        (without(prompt_embeds="c.pt"), ["c.pt", ".safetensors nor .npy"]),
        (without(prompt_embeds="c.npy"), ["pooled_embeds"]),
        (without(pooled_embeds="c.npy"), ["pooled_embeds"]),
        (without("ref_image"), ["'person'", "needs ref_image"]),
        (without("ref_image", data_type="person_head"), ["'person_head'", "needs ref_image"]),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, words):
    rows, problems = read(tmp_path, GOOD, "", line)
    assert len(rows) == 1
    (problem,) = map(str, problems)
    assert problem.startswith(f"{tmp_path / 'list.jsonl'}:3: ")
    assert "\n" not in problem
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize(
    ("line", "options"),
    [
        (without("ref_image", data_type="person_hair"), {}),
        (without("ref_image"), {"needs_references": False}),
        (without("prompt_embeds", prompt=""), {"has_text_encoders": True}),
        (without(prompt_embeds="c.npy", pooled_embeds="d.npy"), {}),
        (without(prompt=None), {}),
    ],
)
def test_what_is_not_needed_may_be_left_out(tmp_path, line, options):
    rows, problems = read(tmp_path, line, **options)
    assert problems == []
    assert rows[0].image == "a.png"


def test_the_face_loss_looks_at_people_and_heads_alone(tmp_path):
    kinds = ["person", "person_head", "person_hair", "Person", "cat"]
    rows, _ = read(tmp_path, *(without(data_type=kind) for kind in kinds))
    assert [row.wants_face for row in rows] == [True, True, False, False, False]


def test_paths_start_from_the_list_and_a_missing_file_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (row,) = read(tmp_path, GOOD)[0]
    assert row.path("image") == tmp_path / "a.png"
    with pytest.raises(InputError, match=rf"list\.jsonl:1: ref_image {tmp_path}/b\.png is no file"):
        row.path("ref_image")


def test_a_list_without_lines_and_one_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="has no line"):
        read(tmp_path, "", " ")
    with pytest.raises(InputError, match="cannot be read"):
        read_rows(tmp_path / "none.jsonl", needs_references=False, has_text_encoders=False)
