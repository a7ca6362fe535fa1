"""Limits: names, reachability, and subnets that keep them."""

from __future__ import annotations

import random

import pytest

from course_lib import search


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'macs', 'stored_bytes', 'peak_activation_bytes', 'latency_ms'; got 'flops'"):
        search.Limits({"flops": 1e6})


def test_a_limit_of_latency_needs_a_table_and_limits_are_positive(table):
    with pytest.raises(ValueError, match="needs latency, a LatencyTable"):
        search.Limits({"latency_ms": 1.0})
    with pytest.raises(ValueError, match="macs must be greater than 0"):
        search.Limits({"macs": 0})
    assert search.Limits({"latency_ms": 1.0}, table).kept(search.RESNET18_SPACE.smallest)


@pytest.mark.parametrize("name", ["macs", "stored_bytes", "peak_activation_bytes", "latency_ms"])
def test_an_unreachable_limit_names_itself_and_the_nearest_reachable_value(space, table, name):
    lowest = search.metrics(table)[name](space.smallest)
    with pytest.raises(ValueError, match=rf"{name} must be at least .* \(the nearest reachable value\), got a limit"):
        search.random_search(space, len, search.Limits({name: 0.5 * lowest}, table), evaluations=1)
    search.Limits({name: lowest}, table).check_reachable(space)


def test_samples_keep_tight_limits(space, table):
    generator = random.Random(0)
    tight = {name: 1.05 * metric(space.smallest) for name, metric in search.metrics(table).items()}
    limits = search.Limits(tight, table)
    for _ in range(5):
        assert limits.kept(search.sample_within(space, limits, generator))


def test_a_violation_is_the_sum_of_relative_excesses(space, table):
    costs = {"macs": search.macs(space.largest), "stored_bytes": search.stored_bytes(space.largest)}
    limits = search.Limits({"macs": costs["macs"] / 2, "stored_bytes": costs["stored_bytes"] / 1.5})
    assert limits.violation(space.largest) == pytest.approx(1.5)
    assert limits.violation(space.smallest) == 0 and limits.costs(space.largest) == costs
