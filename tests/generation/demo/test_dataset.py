"""The list of a demonstration is one that a LoRA run reads, and what is kept to judge by is not in it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from generation.alignment import crop, similarity_matrices, template
from generation.demo.dataset import BOXES, LIST, UNSEEN, write_dataset
from generation.demo.people import SIDE
from generation.detection import open_finder
from generation.lora.rows import read_rows
from recognition.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("people")
    write_dataset(out, seed=0, people=3, pictures=2, unseen=1)
    return out


def test_the_first_rows_are_of_different_people_and_each_has_another_picture_of_them(folder):
    rows, problems = read_rows(folder / LIST, needs_references=True, has_text_encoders=False)
    assert not problems
    names = [row.image.split("/")[0] for row in rows]
    assert names == ["person-00", "person-01", "person-02"] * 2
    for row in rows:
        assert row.ref_image.split("/")[0] == row.image.split("/")[0]
        assert row.ref_image != row.image
        assert row.path("ref_image").is_file()
        assert row.path("prompt_embeds").is_file()


def test_pictures_to_judge_by_are_of_the_same_people_and_not_in_the_list(folder):
    learnt = {path.read_bytes() for path in folder.glob("person-*/*.png")}
    unseen = sorted((folder / UNSEEN).glob("*/*.png"))
    assert [path.parent.name for path in unseen] == ["person-00", "person-01", "person-02"]
    assert not learnt & {path.read_bytes() for path in unseen}


def test_the_boxes_say_that_the_picture_is_the_aligned_face(folder):
    finder = open_finder(folder / BOXES)
    name = "person-01/1.png"
    assert set(json.loads((folder / BOXES).read_text())) == {
        f"person-0{number}/{index}.png" for number in range(3) for index in range(2)
    }
    img01 = torch.from_numpy(np.array(Image.open(folder / name))).permute(2, 0, 1)[None].float() / 255
    (found,) = finder(img01, [name])
    matrix = similarity_matrices(found.points_52[None].float(), template(SIDE))
    assert torch.allclose(crop(img01, matrix, SIDE), img01, atol=1e-4)


@pytest.mark.parametrize("few", [{"people": 1}, {"pictures": 1}, {"unseen": 0}])
def test_too_few_to_compare_are_refused_before_anything_is_written(tmp_path, few):
    with pytest.raises(InputError, match="at least 2"):
        write_dataset(tmp_path, seed=0, **{"people": 2, "pictures": 2, "unseen": 1, **few})
    assert not list(tmp_path.iterdir())
