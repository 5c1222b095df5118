"""Figures of groups equal those of their pairs picked out by hand, at the thresholds of the whole set."""

import numpy as np
import pytest

from recognition.errors import InputError
from recognition.verification.groups import Group, Rates, disparity, group_results
from recognition.verification.protocol import verify_pairs
from tests.verification.synthetic import noisy_pairs


def test_each_group_is_judged_at_the_thresholds_of_all():
    result = verify_pairs(*noisy_pairs(4, 1.5))
    names = np.array(["b", "a", "mixed, both"])[np.random.default_rng(0).integers(0, 3, 600)].tolist()
    groups = group_results(result, names)
    assert [group.name for group in groups] == ["a", "b", "mixed, both"]
    assert sum(group.pairs for group in groups) == 600
    for group in groups:
        pairs = [pair for pair in range(600) if names[pair] == group.name]
        genuine = [result.distances_P[pair] for pair in pairs if result.issame_P[pair]]
        impostor = [result.distances_P[pair] for pair in pairs if not result.issame_P[pair]]
        assert (group.pairs, group.genuine, group.impostor) == (len(pairs), len(genuine), len(impostor))
        right = sum(d < result.threshold for d in genuine) + sum(d >= result.threshold for d in impostor)
        assert group.accuracy == right / len(pairs)
        assert group.accuracy_interval[0] < group.accuracy < group.accuracy_interval[1]
        assert list(group.rates) == [0.1, 0.01]  # what 300 impostors can tell
        for point in result.operating_points[:2]:
            rates = group.rates[point.far]
            assert rates.fmr == sum(d < point.threshold for d in impostor) / len(impostor)
            assert rates.fnmr == sum(d >= point.threshold for d in genuine) / len(genuine)
            assert rates.fmr_interval[0] <= rates.fmr <= rates.fmr_interval[1]
    whole = sum(group.rates[0.1].fmr * group.impostor for group in groups)
    assert whole == pytest.approx(30)  # 10 % of 300 impostors


def test_a_group_of_one_kind_has_no_rate_of_the_other():
    result = verify_pairs(*noisy_pairs(4, 1.5))
    groups = group_results(result, np.where(result.issame_P, "same", "other").tolist())
    assert [(group.name, group.rates[0.1].fnmr) for group in groups][0] == ("other", None)
    assert groups[1].rates[0.1].fmr is groups[1].rates[0.1].fmr_interval is None


def rated(fmr, fnmr):
    return Group("g", 1, 1, 1, 1.0, (0.0, 1.0), {0.1: Rates(fmr, None, fnmr, None)})


def test_disparity_by_hand():
    found = disparity([rated(0.08, 0.1), rated(0.02, 0.4), rated(0.04, None)], 0.1)
    assert found.max_min_fmr == pytest.approx(4)
    assert found.max_mean_fmr == pytest.approx(2)  # the geometric mean is 0.04
    assert found.max_min_fnmr == pytest.approx(4)
    assert disparity([rated(0.0, 0.1), rated(0.1, 0.0)], 0.1) == type(found)(None, None, None)
    assert disparity([rated(0.1, 0.1)], 0.5) == type(found)(None, None, None)


def test_a_group_for_each_pair_is_needed():
    with pytest.raises(InputError, match="3 groups do not fit 600 pairs"):
        group_results(verify_pairs(*noisy_pairs(4, 1.5)), ["a", "b", "c"])
