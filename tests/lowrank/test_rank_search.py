"""Candidates, what they cost and harm, and the choice under a budget."""

from __future__ import annotations

import itertools

import pandas
import pytest
import torch

from course_lib import lowrank
from course_lib.data import TestSplitError
from tests.lowrank.conftest import pictures
from tests.toys import vectors

ONE = [("a", "as it is", (), 100, 0.0), ("a", "svd", (8,), 50, 0.1), ("a", "svd", (4,), 20, 0.9)]
TWO = [("b", "as it is", (), 100, 0.0), ("b", "svd", (8,), 60, 0.01), ("b", "tucker", (4, 4), 40, 0.02)]
TABLE = pandas.DataFrame(ONE + TWO, columns=["layer", "kind", "ranks", "parameters", "harm"])


def test_candidates_are_each_layer_as_it_is_and_what_is_smaller(cnn):
    table = lowrank.candidates(cnn, (0.3, 0.5), multiple=1)
    whole = table[table["kind"] == "as it is"].set_index("layer")["parameters"]
    assert list(whole.index) == ["0", "2", "8"]
    for row in table[table["kind"] != "as it is"].itertuples():
        assert row.parameters < whole[row.layer]
    assert set(table[table["layer"] == "2"]["kind"]) == {"as it is", "svd", "tucker"}


def test_the_scan_finds_the_layer_that_hurts_and_leaves_the_model(cnn):
    before = {name: tensor.clone() for name, tensor in cnn.state_dict().items()}
    table = lowrank.candidates(cnn, (0.2, 0.5), layers=["2"], multiple=1)
    scan = lowrank.sensitivity_scan(cnn, pictures("validation"), table, progress=False)
    assert (scan["harm"] >= 0).all() and scan[scan["kind"] == "as it is"]["harm"].item() == 0
    assert {"loss", "accuracy", "harm"} <= set(scan.columns)
    assert all(torch.equal(before[name], tensor) for name, tensor in cnn.state_dict().items())


def test_what_decides_ranks_may_not_see_the_test_split(mlp):
    table = lowrank.candidates(mlp, (0.5,), kinds=("svd",), multiple=1)
    with pytest.raises(TestSplitError):
        lowrank.sensitivity_scan(mlp, vectors("test"), table)
    with pytest.raises(TestSplitError):
        lowrank.output_moments(mlp, vectors("test"), ["1"])


def test_every_form_is_timed_and_equal_layers_once(cnn):
    table = lowrank.candidates(cnn, (0.3,), multiple=1)
    timed = lowrank.layer_latencies(cnn, torch.randn(1, 3, 8, 8), table, threads=1, runs=2)
    assert (timed["latency_ms"] > 0).all()


@pytest.mark.parametrize("budget", [200, 160, 140, 90, 60])
def test_the_budget_is_kept_with_the_least_harm(budget):
    plan = lowrank.choose(TABLE, budget)
    kept = dict.fromkeys("ab", ("as it is",)) | plan
    rows = {(row.layer, row.kind, *row.ranks): row for row in TABLE.itertuples()}
    chosen = [rows[(name, *entry)] for name, entry in kept.items()]
    assert sum(row.parameters for row in chosen) <= budget
    pairs = [pair for pair in itertools.product(ONE, TWO) if pair[0][3] + pair[1][3] <= budget]
    best = min(one[4] + two[4] for one, two in pairs)
    assert sum(row.harm for row in chosen) == pytest.approx(best)


def test_a_budget_that_cannot_be_kept_says_what_can():
    with pytest.raises(ValueError, match="budget must be at least 60"):
        lowrank.choose(TABLE, 59)
    with pytest.raises(ValueError, match="cost must be one of"):
        lowrank.choose(TABLE, 100, "joules")


def test_a_budget_of_time_uses_the_times():
    table = TABLE.assign(latency_ms=[1.0, 2.0, 0.5, 1.0, 0.9, 1.5])
    assert lowrank.choose(table, 1.95, "latency_ms") == {"b": ("svd", 8)}
