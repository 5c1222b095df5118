"""The charts: what is drawn is what the facts say, each model in its own colour, nothing where facts are absent."""

import itertools
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

from recognition.chart import COLOURS, line_style, svg
from recognition.report.charts import curves, groups, scores, searches

ROC = {"far": [0, 0, 0.01, 0.01, 0.5, 1], "tar": [0, 0.3, 0.4, 0.6, 0.9, 1]}
OUTCOME = {
    "impostor": 100,
    "roc": ROC,
    "operating_points": [
        {"far": 0.5, "tar": 0.9, "low": 0.85, "high": 0.95, "flag": None},
        {"far": 0.01, "tar": 0.6, "low": 0.5, "high": 0.7, "flag": "few_impostors"},
        {"far": 0.001, "tar": 0.1, "low": 0.0, "high": 0.2, "flag": "too_few_impostors"},
    ],
}


@pytest.fixture
def axes_of(monkeypatch):
    """The axes that a chart draws on, instead of their SVG."""

    def drawn(draw, size_inches=(5, 3)):
        axes = Figure(figsize=size_inches, layout="constrained").add_subplot()
        draw(axes)
        return axes

    for module in (curves, groups, scores, searches):
        monkeypatch.setattr(module, "svg", drawn)


def xy(line):
    return [list(map(float, values)) for values in line.get_data()]


def test_the_roc_has_each_false_accept_rate_once_with_its_best_share(axes_of):
    axes = curves.roc_svg(["a"], [OUTCOME])
    curve, points = axes.lines
    assert xy(curve) == [[0.005, 0.01, 0.5, 1], [0.3, 0.6, 0.9, 1]]  # 0 at half of the lowest rate
    assert curve.get_drawstyle() == "steps-post"
    assert xy(points) == [[0.5, 0.01], [0.9, 0.6]]  # nothing of the rate that the set cannot tell
    assert [text.get_text() for text in axes.texts] == ["90.0 %", "60.0 %"]
    band = axes.collections[0].get_paths()[0].vertices
    assert {tuple(np.round(at, 9)) for at in band} == {(0.5, 0.85), (0.5, 0.95), (0.01, 0.5), (0.01, 0.7)}


def test_several_models_have_no_band_but_a_legend(axes_of):
    axes = curves.roc_svg(["a", "b"], [OUTCOME, OUTCOME])
    assert len(axes.collections) == len(axes.texts) == 0
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert [line.get_color() for line in axes.lines] == [COLOURS[0], COLOURS[0], COLOURS[1], COLOURS[1]]


def test_the_det_is_on_normal_deviates(axes_of):
    axes = curves.det_svg(["a"], [OUTCOME])
    x, y = xy(axes.lines[0])
    assert x == pytest.approx(norm.ppf([0.01, 0.5]), abs=1e-12)  # rates of 0 and 1 have no deviate
    assert y == pytest.approx(norm.ppf([0.4, 0.1]), abs=1e-12)
    ticks = {
        label: tick
        for tick, label in zip(axes.get_xticks(), axes.xaxis.get_major_formatter().format_ticks(axes.get_xticks()))
    }
    assert ticks["1 %"] == pytest.approx(norm.ppf(0.01), abs=1e-12)
    assert ticks["1e-6"] == pytest.approx(norm.ppf(1e-6), abs=1e-12)


HISTOGRAM = {"cosine_edges": [0, 0.5, 1], "genuine": [1, 3], "impostor": [30, 10]}


def test_the_histogram_is_shares_of_each_kind(axes_of):
    axes = scores.histogram_svg(["a"], [{"histogram": HISTOGRAM, "threshold": 1.5}])
    shares = {patch.get_label(): list(patch.get_data().values) for patch in axes.patches if patch.get_label()}
    assert shares["same person"] == [0.25, 0.75]
    assert shares["different people"] == [0.75, 0.25]
    assert xy(axes.lines[0]) == [[0.25, 0.25], [0, 0.75]]  # cosine of squared distance 1.5
    assert axes.get_ylim() == (0, 1.25 * 0.75)


def test_histograms_of_several_models_stand_below_each_other_on_one_scale(axes_of):
    flat = {"cosine_edges": [0, 0.5, 1], "genuine": [2, 2], "impostor": [0, 0]}
    axes = scores.histogram_svg(["a", "b", "c"], [{"histogram": HISTOGRAM}, {}, {"histogram": flat, "threshold": 1.0}])
    assert [(text.get_position()[1], text.get_text()) for text in axes.get_yticklabels()] == [(0, "c"), (1, "a")]
    outlines = [np.round(patch.get_data().values, 9).tolist() for patch in axes.patches if not patch.get_fill()]
    # 0.75, the largest share of all, fills 0.9 of a row.
    assert outlines == [[1.9, 1.3], [1.3, 1.9], [0, 0], [0.6, 0.6]]
    assert xy(axes.lines[0])[0] == [0.5, 0.5]


def test_the_searching_curves(axes_of):
    axes = searches.cmc_svg(["a", "b"], [{"cmc": [0.5, 0.75, 0.8]}, {}])
    assert xy(axes.lines[0]) == [[1, 2, 3], [0.5, 0.75, 0.8]]
    point = {"fpir": 0.1, "dir": 0.8, "low": 0.7, "high": 0.85, "flag": None}
    facts = {"curve": {"fpir": [0, 0.1, 0.1, 1], "dir": [0, 0.7, 0.8, 0.9]}, "open_set": [point]}
    axes = searches.open_set_svg(["a"], [facts])
    assert xy(axes.lines[0]) == [[0.05, 0.1, 1], [0, 0.8, 0.9]]
    assert xy(axes.lines[1]) == [[0.1], [0.8]]
    assert len(axes.collections) == 1


def test_groups_are_points_with_intervals_from_top_to_bottom(axes_of):
    facts = {
        "groups": [
            {"group": "young", "accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95},
            {"group": "old", "accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.75},
            {"group": "none", "accuracy": None, "accuracy_low": None, "accuracy_high": None},
        ]
    }
    axes = groups.groups_svg(["a"], [facts])
    assert xy(axes.lines[0]) == [[0.9, 0.7], [0, 1]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["young", "old", "none"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    spans = [path[:, 0].tolist() for path in axes.collections[0].get_segments()]
    assert spans == [[0.8, 0.95], [0.6, 0.75]]


@pytest.mark.parametrize(
    "facts", [{}, {"roc": {"far": [], "tar": []}, "histogram": None, "cmc": [], "groups": [], "curve": None}]
)
def test_nothing_is_drawn_of_what_is_absent(facts):
    for draw in (
        scores.histogram_svg,
        curves.roc_svg,
        curves.det_svg,
        searches.cmc_svg,
        searches.open_set_svg,
        groups.groups_svg,
    ):
        assert draw(["a", "b"], [facts, facts]) is None


def test_a_perfect_model_has_a_roc_and_no_det():
    perfect = {
        "roc": {"far": [0, 0, 1], "tar": [0, 1, 1]},
        "impostor": 10,
        "histogram": {"cosine_edges": [0, 1], "genuine": [0], "impostor": [0]},
    }
    assert curves.roc_svg(["a"], [perfect]).startswith("<?xml")
    assert curves.det_svg(["a"], [perfect]) is None
    assert scores.histogram_svg(["a"], [perfect]) is None


def test_the_file_is_svg_without_long_numbers_and_the_same_each_time():
    texts = [svg(lambda axes: axes.plot([1, 2, 3], [1 / 3, 2 / 7, 0.123456])) for _ in range(2)]
    assert texts[0] == texts[1]
    paths = [node.get("d") for node in ElementTree.fromstring(texts[0]).iter("{http://www.w3.org/2000/svg}path")]
    assert paths
    assert all(len(number.partition(".")[2]) <= 2 for path in paths for number in path.split())


def linear(colour):
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira and Fernandes 2009, table 1 at full severity: what protanopes, deuteranopes and tritanopes see.
SEEN = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(rgb):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SEEN)
def test_the_colours_of_models_can_be_told_apart(sight):
    seen = [lab(np.array(SEEN[sight]) @ linear(colour)) for colour in COLOURS]
    assert min(math.dist(one, other) for one, other in itertools.combinations(seen, 2)) > 30  # CIE76


@pytest.mark.parametrize("colour", COLOURS)
def test_the_colours_of_models_are_dark_enough_for_text(colour):
    luminance = float(linear(colour) @ [0.2126, 0.7152, 0.0722])
    assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2.1, 1.4.3


def test_24_models_have_lines_of_their_own():
    assert len({tuple(line_style(index).values()) for index in range(24)}) == 24
