"""Random and evolutionary search, and survivors under constraint handling."""

from __future__ import annotations

import pytest

from course_lib import search


def test_both_searches_keep_the_limits_and_the_number_of_evaluations(space, score, table):
    limits = search.Limits({"macs": 4e6, "latency_ms": 0.5, "stored_bytes": 1.5e6}, table)
    for run in (search.random_search, search.evolutionary_search):
        result = run(space, score, limits, evaluations=200, seed=1)
        assert len(result.evaluated) == len(result.history) == 200
        assert all(limits.kept(subnet) for subnet in result.evaluated)
        assert result.score == max(result.evaluated.values()) == result.history[-1] == score([result.best])[0]
        assert result.history == sorted(result.history)
        assert run(space, score, limits, evaluations=200, seed=1).best == result.best


def test_evolution_beats_random_search_under_a_tight_limit(space, score):
    limits = search.Limits({"macs": 3e6})
    wins = 0
    for seed in range(5):
        drawn = search.random_search(space, score, limits, evaluations=300, seed=seed)
        evolved = search.evolutionary_search(space, score, limits, evaluations=300, seed=seed)
        wins += evolved.score > drawn.score
    assert wins >= 4


def test_a_limit_that_only_the_smallest_keeps_ends_the_search(space, score):
    limits = search.Limits({"macs": search.macs(space.smallest)})
    result = search.evolutionary_search(space, score, limits, evaluations=20)
    assert result.best == space.smallest and len(result.evaluated) < 20


def test_survivors_are_those_within_the_limits_first(space):
    a, b, c, d = (space.subnet([i, *[0] * 12]) for i in range(4))
    scored = [(a, 0.9, 0.2), (b, 0.5, 0.0), (c, 0.7, 0.0), (d, 0.99, 0.1)]
    assert search.evolution_step(scored, 3) == [c, b, d]
    assert search.evolution_step(scored, 9) == [c, b, d, a]


def test_more_parents_than_children_are_refused(space, score):
    with pytest.raises(ValueError, match="parents must be at most population = 4, got 5"):
        search.evolutionary_search(space, score, search.Limits({}), population=4, parents=5)
