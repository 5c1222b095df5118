"""A few of many: as many as asked for, evenly, both ends among them, none twice."""

import numpy as np
import pytest

from recognition.spread import spread


@pytest.mark.parametrize(("count", "most"), [(0, 5), (1, 5), (5, 5), (6, 5), (1000, 7), (1000, 1)])
def test_they_are_even_and_both_ends_are_among_them(count, most):
    places = spread(count, most)
    assert places.dtype == np.int64
    assert len(places) == min(count, most)
    if most > 1 and count:
        assert (places[0], places[-1]) == (0, count - 1)
    if len(places) > 1:
        gaps = np.diff(places)
        assert gaps.min() > 0
        assert np.ptp(gaps) <= 1
