"""Sentences for people who decide: what the figures allow to say, and what they do not."""

import pytest

from recognition.report.figures import ERROR_RATES
from recognition.report.kinds.sentences import chance, counts, founded, reach

COST = "At {rate} (1 in {odds:,})"


def outcome(*points):
    return {"impostor": 3000, "operating_points": [dict(zip(("far", "tar", "flag"), point)) for point in points]}


@pytest.mark.parametrize(
    ("count", "nothing", "little"),
    [
        (3000, "0.033 %", "0.33 %"),
        (300, "0.33 %", "3.3 %"),
        (1000, "0.1 %", "1 %"),
        (7, "14 %", "100 %"),
        (15_658_489, "1 in 15,658,489", "1 in 1,565,849"),
        (200_000, "1 in 200,000", "1 in 20,000"),
    ],
)
def test_how_low_so_many_pairs_can_tell(count, nothing, little):
    (sentence,) = reach(count, "impostor pairs", "false accept rate")
    assert sentence == (
        f"{count:,} impostor pairs cannot tell anything about false accept rates below {nothing}, and little about "
        f"those below {little}, where fewer than ten of them decide."
    )


@pytest.mark.parametrize("count", [*range(1, 400), 9999, 10001, 12345, 999_999])
def test_what_is_said_of_lower_rates_is_true(count):
    (sentence,) = reach(count, "pairs", "rate")
    for text, least in zip(sentence.split("below ")[1:], (1, 10)):
        number = text.split(",")[0] if "%" in text else text.split(", ")[0].split("1 in ")[1].replace(",", "")
        rate = float(number.split(" %")[0]) / 100 if "%" in text else 1 / float(number)
        assert rate * count <= least + 1e-9  # whatever lies below allows fewer
        assert rate * count > 0.9 * min(least, count) * (1 - 1e-9)  # and not much is given away


def test_no_pairs_and_no_count():
    assert reach(0, "impostor pairs", "false accept rate") == [
        "There are no impostor pairs, so nothing can be said about false accept rates."
    ]
    assert reach(None, "impostor pairs", "false accept rate") == []


def test_the_lowest_founded_rate_is_told_and_lower_ones_are_not():
    one = outcome((0.1, 0.99, None), (0.01, 0.9, None), (0.001, 0.5, "few_impostors"))
    two = outcome((0.1, 0.98, None), (0.01, 0.95, None), (0.001, None, "too_few_impostors"))
    said = {"cost": COST, "verb": "accept", "what": "pairs"}
    assert founded(["a"], [one], ERROR_RATES, **said) == ["At 1 % (1 in 100) a accepts 90.00 % of pairs."]
    assert founded(["a", "{b}"], [one, two], ERROR_RATES, **said) == [
        "At 1 % (1 in 100) the models accept between 90.00 % (a) and 95.00 % ({b}) of pairs."
    ]
    few = outcome((0.1, 0.99, "few_impostors"))
    assert founded(["a"], [few], ERROR_RATES, **said) == [
        "None of the TAR at FAR figures rests on enough impostor pairs to lean on."
    ]
    assert founded(["a"], [{}], ERROR_RATES, **said) == []


MAY_BE = "may be chance (p >= 0.05): this set does not say which is better."


@pytest.mark.parametrize(
    ("p_values", "sentence"),
    [
        ([(0.001, 0.04), (0.001, 0.06)], "1 of 2 tested differences between models is more than chance (p < 0.05)."),
        (
            [(0.5, 0.6), (0.01, 0.03), (0, 0)],
            "2 of 3 tested differences between models are more than chance (p < 0.05).",
        ),
        (
            [(0.5, None), (0.01, None)],
            "1 of 2 tested differences between models is more than chance "
            "(p < 0.05, not corrected for the number of differences).",
        ),
        ([(0.001, 0.01)], "The one tested difference between models is more than chance (p < 0.05)."),
        ([(0.001, 0.01), (0, 0)], "Each of the 2 tested differences between models is more than chance (p < 0.05)."),
        (
            [(0.01, 0.05)],
            f"The one tested difference between models {MAY_BE}",
        ),
        (
            [(0.01, 0.9), (None, 0.8)],
            f"Each of the 2 tested differences between models {MAY_BE}",
        ),
    ],
)
def test_the_corrected_p_says_what_is_chance(p_values, sentence):
    assert chance([{"p_value": p, "p_adjusted": adjusted} for p, adjusted in p_values]) == [sentence]


def test_nothing_is_said_of_what_was_not_tested():
    assert chance([]) == chance([{"metric": "accuracy"}]) == []


def test_what_a_target_consists_of():
    wanted = (("images", "pictures"), ("people", "people"), ("distractors", "distractors"))
    assert counts({"images": 12345, "distractors": 0}, wanted) == ["12,345 pictures."]
    assert counts({}, wanted) == []
