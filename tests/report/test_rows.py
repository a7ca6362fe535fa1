"""Ratios of a row to the baseline against arithmetic."""

import json
import math

import pytest
import torch

from course_lib import data, report, training
from tests.report.models import CLASSES, mlp, quick, sparse


def test_ratios_are_relative_to_the_first_row(split):
    table = quick(mlp(sizes=(6, 400, 3)), sparse(mlp(sizes=(6, 400, 3))), on=split, names=["dense", "sparse"])
    dense, pruned = table.rows
    assert pruned.before is dense
    assert pruned.ratio == dense.stored_bytes / pruned.stored_bytes > 2
    assert pruned.retained == pytest.approx(pruned.accuracy / dense.accuracy)
    low, high = pruned.retained_interval
    assert low <= pruned.retained <= high
    assert pruned.sparsity == pytest.approx(1 - pruned.nonzeros / pruned.parameters)


def test_further_splits_stand_in_the_same_row(split):
    other = split.subset(30, seed=3)
    table = quick(mlp(), sparse(mlp()), on=split, domains={"tweets": other})
    row = table.rows[1]
    expected = training.evaluate(sparse(mlp()), other)
    assert row.domains["tweets"].accuracy == pytest.approx(row.domains["tweets"].correct.double().mean().item())
    assert len(row.domains["tweets"].labels) == len(expected.labels) == 30
    assert row.retained_domains["tweets"] == pytest.approx(
        row.domains["tweets"].accuracy / table.rows[0].domains["tweets"].accuracy
    )
    assert "accuracy tweets" in table.frame
    assert "tweets" in repr(table)


def test_speedups_are_against_the_same_runtime_and_against_eager(split, timed):
    table = report.compare(mlp(), mlp(1), on=split, progress=False)
    before, after = table.rows
    assert (before.speedup, before.speedup_over_eager) == (1, 2)
    assert (after.speedup, after.speedup_over_eager) == (2, 4)
    assert after.speedup_at(report.Setting("eager", 32, 2)) == 2
    assert before.headline == report.HEADLINE
    assert after.memory.model_mb == pytest.approx(50.4)


def test_a_baseline_that_knows_nothing_gives_no_ratio(split):
    hopeless = mlp()
    with torch.no_grad():
        hopeless[3].bias.copy_(torch.tensor([1e6, 0, 0]))
    only_bags = data.Split("points", "test", split.inputs, torch.ones(60, dtype=torch.long), CLASSES)
    table = quick(hopeless, mlp(), on=only_bags)
    assert math.isnan(table.rows[1].retained)
    assert "nan" not in repr(table)
    assert json.loads(table.to_json())["rows"][1]["retained"] is None
