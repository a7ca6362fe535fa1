"""Random graphs go through every entry point without a silent difference; the long run is shipped."""

from __future__ import annotations

import pytest
import torch
from common import RESULTS, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graph import images, logits, random_graph
from random_graphs import CLOSE, ENTRY_POINTS, MANY, run

SEEDS = st.integers(10_000, 2**31)
QUICK = [name for name, (_, count) in ENTRY_POINTS.items() if count == MANY]


@pytest.mark.parametrize("entry_point", QUICK)
@settings(max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(seed=SEEDS)
def test_a_random_graph_is_treated_right_or_refused(entry_point, seed):
    row = run(entry_point, range(seed, seed + 1))
    assert row["wrong"] == 0, row["failures"]


@pytest.mark.parametrize("entry_point", [name for name in ENTRY_POINTS if name not in QUICK])
def test_an_exported_graph_computes_the_same(entry_point):
    row = run(entry_point, range(10_000, 10_002))
    assert row["wrong"] == 0, row["failures"]


def test_the_long_run_found_nothing_wrong():
    rows = {row["entry_point"]: row for row in read(RESULTS / "random_graphs.json")["graphs"]["rows"]}
    assert set(rows) == set(ENTRY_POINTS)
    for name, row in rows.items():
        assert row["graphs"] >= (MANY if name in QUICK else 20)
        assert row["wrong"] == 0 and row["largest_error"] <= CLOSE
        assert row["right"] >= 0.85 * row["graphs"]


def test_graphs_differ_and_depend_on_their_input():
    kinds = {step[0] for seed in range(40) for step in random_graph(seed).program}
    assert kinds == {"layer", "gate", "add", "mul", "cat", "activation", "pool", "scale", "shuffle"}
    shared = [random_graph(seed) for seed in range(60)]
    assert any(
        len({step[2] for step in g.program if step[0] == "layer"}) < sum(s[0] == "layer" for s in g.program)
        for g in shared
    )
    assert not torch.equal(logits(shared[0], images(0)), logits(shared[0], images(1)))


def test_a_wrong_result_is_counted(monkeypatch):
    monkeypatch.setitem(ENTRY_POINTS, "MACs", (lambda seed: 1.0 if seed == 3 else 0.0, MANY))
    row = run("MACs", range(5))
    assert (row["right"], row["wrong"], row["failures"]) == (4, 1, {"3": "error 1"})
