"""Which samples count, and what is said of those that do not."""

import logging

import pytest
import torch

from generation.identity.gate import NO_FACE, OTHER_DATA_TYPE, WEIGHTLESS, Skips, gate
from recognition.errors import InputError


def test_the_table_of_data_types():
    kinds = ["person", "person_head", "person_hair", "scenery", "", "PERSON"]
    assert gate(6, kinds, None) == ["", "", *[OTHER_DATA_TYPE] * 4]
    assert gate(3, None, None) == ["", "", ""]


def test_samples_without_weight_do_not_count():
    assert gate(3, ["person", "person", "scenery"], torch.tensor([0.5, 0, 0])) == ["", WEIGHTLESS, OTHER_DATA_TYPE]


@pytest.mark.parametrize(
    ("data_type", "weight", "message"),
    [
        (["person"], None, r"data_type \['person'\]: give one for each of the 2 samples"),
        ("person", None, "data_type 'person': give one for each of the 2"),
        (None, torch.ones(3), r"weight_B has shape \(3,\); give one weight for each of the 2"),
    ],
)
def test_one_of_each_is_wanted(data_type, weight, message):
    with pytest.raises(InputError, match=message):
        gate(2, data_type, weight)


def test_the_first_tenth_and_hundredth_skip_of_a_reason_are_told(caplog):
    skips = Skips()
    with caplog.at_level(logging.WARNING, "arcscale"):
        for step in range(60):
            skips.note(["", NO_FACE, NO_FACE, OTHER_DATA_TYPE, WEIGHTLESS], [f"{step}-{place}" for place in range(5)])
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"{NO_FACE} (0-1): no face loss for this sample; 1 of 5 samples so far",
        f"{NO_FACE} (4-2): no face loss for this sample; 10 of 25 samples so far",
        f"{NO_FACE} (49-2): no face loss for this sample; 100 of 250 samples so far",
    ]
    assert skips.counts == {NO_FACE: 120, OTHER_DATA_TYPE: 60, WEIGHTLESS: 60}
