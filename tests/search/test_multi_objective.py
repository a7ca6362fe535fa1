"""NSGA-II of optuna."""

from __future__ import annotations

import pytest

from course_lib import search


def test_the_front_keeps_the_limits_and_no_net_on_it_is_dominated(space, score):
    limits = search.Limits({"macs": 6e6})
    front = search.nsga2(space, score, limits, objective="macs", evaluations=150, population=20)
    assert len(front) >= 3 and all(limits.kept(subnet) for subnet, _, _ in front)
    costs = [cost for _, _, cost in front]
    assert costs == sorted(costs) and [value for _, value, _ in front] == sorted(value for _, value, _ in front)
    again = search.nsga2(space, score, limits, objective="macs", evaluations=150, population=20)
    assert again == front


def test_unknown_objectives_and_latency_without_a_table_are_refused(space, score):
    with pytest.raises(ValueError, match="objective must be one of 'macs'"):
        search.nsga2(space, score, search.Limits({}), objective="flops")
    with pytest.raises(ValueError, match="needs limits with a LatencyTable"):
        search.nsga2(space, score, search.Limits({}), objective="latency_ms")
