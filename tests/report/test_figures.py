"""How figures are written: percent, rates, intervals, and a dash with its reason where there is no figure."""

import pytest

from recognition.report.figures import (
    ERROR_RATES,
    SEARCH_RATES,
    figure,
    lowest_founded,
    operating_points,
    percent,
    point_rows,
    rate_text,
)


def outcome(*points, impostor=3000):
    return {"impostor": impostor, "operating_points": [dict(zip(("far", "tar", "flag"), point)) for point in points]}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.98765, "98.77 %"), (1, "100.00 %"), (0, "0.00 %"), (0.000123, "0.012 %"), (4e-7, "4e-05 %"), (None, "–")],
)
def test_a_share_in_percent(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("rate", "text", "short"),
    [
        (0.1, "10 %", "10 %"),
        (0.001, "0.1 %", "0.1 %"),
        (1e-4, "0.01 %", "0.01 %"),
        (1e-5, "1e-5 (1 in 100,000)", "1e-5"),
        (1e-8, "1e-8 (1 in 100,000,000)", "1e-8"),
        (1e-10, "1e-10 (1 in 10,000,000,000)", "1e-10"),
    ],
)
def test_a_false_accept_rate(rate, text, short):
    assert rate_text(rate) == text
    assert rate_text(rate, short=True) == short


def test_an_interval_stands_beside_its_figure_and_half_an_interval_does_not():
    cell = figure(0.5, [0.25, 0.75])
    assert (cell.text, cell.interval) == ("50.00 %", "25.00 to 75.00 %")
    assert figure(0.5, [None, 0.75]).interval == figure(0.5).interval == figure(None, [0, 1]).interval == ""
    assert figure(None).text == "–"


def test_too_few_is_a_dash_even_where_the_facts_have_a_number():
    (row,) = point_rows([outcome((1e-4, 0.77, "too_few_impostors"))], ERROR_RATES)
    assert (row.cells[0].text, row.note) == ("–", "needs 10,000 impostor pairs, has 3,000")
    (point,) = operating_points(outcome((1e-4, 0.77, "too_few_impostors")), ERROR_RATES)
    assert point["share"] is None


def test_a_figure_that_few_decide_says_so():
    (row,) = point_rows([outcome((1e-3, 0.9, "few_impostors"))], ERROR_RATES)
    assert row.cells[0].line == "90.00 % [decided by 3 of 3,000 impostor pairs]"
    (row,) = point_rows([outcome((1e-3, 0.9, "few_impostors"), impostor=None)], ERROR_RATES)
    assert row.note == "few impostor pairs decide"
    (row,) = point_rows([outcome((1e-3, 0.9, None))], ERROR_RATES)
    assert row.note == ""


def test_a_note_that_not_all_share_stays_with_its_cell():
    rows = point_rows([outcome((1e-3, 0.9, None)), outcome((1e-3, 0.8, "few_impostors"))], ERROR_RATES)
    assert [row.note for row in rows] == [""]
    assert [cell.note for cell in rows[0].cells] == ["", "decided by 3 of 3,000 impostor pairs"]
    few = (1e-3, 0.8, "few_impostors")
    (row,) = point_rows([outcome(few), outcome(few, impostor=4000)], ERROR_RATES)
    assert row.note == ""
    assert [cell.note[:12] for cell in row.cells] == ["decided by 3", "decided by 4"]


def test_rates_that_nobody_can_tell_are_one_row():
    few = [(1e-5, None, "too_few_impostors"), (1e-4, None, "too_few_impostors"), (0.01, 0.9, None)]
    rows = point_rows([outcome(*few), outcome(*few)], ERROR_RATES)
    assert [row.label for row in rows] == ["TAR at FAR 1 %", "TAR at FAR 0.01 % and below"]
    one_can = outcome((1e-5, 0.5, None), *few[1:])
    rows = point_rows([outcome(*few), one_can], ERROR_RATES)
    assert [row.label for row in rows] == ["TAR at FAR 1 %", "TAR at FAR 0.01 %", "TAR at FAR 1e-5 (1 in 100,000)"]
    assert [cell.text for cell in rows[-1].cells] == ["–", "50.00 %"]


def test_only_the_rates_asked_for():
    given = outcome((0.1, 0.99, None), (0.01, 0.9, None), (1e-4, None, "too_few_impostors"))
    assert [row.label for row in point_rows([given], ERROR_RATES, only=[0.01])] == ["TAR at FAR 1 %"]
    assert [row.label for row in point_rows([given], ERROR_RATES, only=[1e-4])] == ["TAR at FAR 0.01 %"]
    assert point_rows([given], ERROR_RATES, only=[0.5]) == []


def test_an_outcome_with_tar_at_far_alone_has_operating_points():
    points = operating_points({"tar_at_far": {"0.001": None, "0.01": 0.9}, "impostor": 300}, ERROR_RATES)
    assert [(p["rate"], p["share"], p["allowed"]) for p in points] == [(0.01, 0.9, 3), (0.001, None, 0)]
    assert points[1]["note"] == "needs 1,000 impostor pairs, has 300"
    assert operating_points({}, ERROR_RATES) == operating_points({"tar_at_far": {"0.1": 1}}, SEARCH_RATES) == []


def test_the_lowest_founded_rate_is_that_of_all():
    strong = outcome((0.1, 0.99, None), (0.01, 0.9, None), (0.001, 0.8, None))
    weak = outcome((0.1, 0.99, None), (0.01, 0.9, None), (0.001, 0.8, "few_impostors"))
    assert lowest_founded([strong], ERROR_RATES) == 0.001
    assert lowest_founded([strong, weak], ERROR_RATES) == 0.01
    assert lowest_founded([outcome((0.1, None, "too_few_impostors"))], ERROR_RATES) is None
