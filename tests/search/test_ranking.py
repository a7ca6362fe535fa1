"""Kendall's τ-b and the Pareto front."""

from __future__ import annotations

import math

import numpy
import pytest
import scipy.stats

from course_lib import search


@pytest.mark.parametrize("seed", range(3))
def test_kendall_tau_is_that_of_scipy_with_ties(seed):
    generator = numpy.random.default_rng(seed)
    a, b = generator.integers(0, 6, 40), generator.integers(0, 6, 40)
    assert search.kendall_tau(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic)


def test_the_interval_holds_the_value_and_shrinks_with_more_items():
    generator = numpy.random.default_rng(0)
    widths = []
    for count in (20, 200):
        a = generator.normal(size=count)
        tau, low, high = search.kendall_interval(a, a + generator.normal(size=count), draws=200)
        assert low < tau < high
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_lists_of_other_lengths_and_constant_lists():
    with pytest.raises(ValueError, match="same length above 1"):
        search.kendall_tau([1, 2], [1, 2, 3])
    assert math.isnan(search.kendall_tau([1, 1], [1, 2]))


def test_the_front_keeps_ties_and_drops_what_is_dominated():
    costs = [(1, 5), (2, 2), (2, 2), (2, 3), (5, 1), (6, 1)]
    assert search.pareto_front(costs) == [0, 1, 2, 4]
    assert search.pareto_front([]) == [] and search.pareto_front([(3, 3)]) == [0]
    with pytest.raises(ValueError, match="without NaN"):
        search.pareto_front([(1, float("nan"))])
