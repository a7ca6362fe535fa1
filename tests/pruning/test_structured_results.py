"""The shipped networks with fewer channels, and the stored measurements of benchmarks/structured.py."""

from __future__ import annotations

import pytest

from course_lib import assets, profiling, pruning, storage
from course_lib.pruning import CRITERIA, DEFAULT_CRITERION

FILES = {"3.7": ("resnet18_structured_4", 5e6), "11": ("resnet18_structured_11", 2e6)}


@pytest.fixture(scope="module")
def results():
    return assets.results("structured")


@pytest.fixture(scope="module")
def points(results):
    return {row["name"]: row for row in results["points"]["rows"]}


@pytest.mark.parametrize("factor", FILES)
def test_a_shipped_network_is_plain_small_and_the_one_that_was_measured(points, factor):
    name, most_bytes = FILES[factor]
    file = assets.path(name)
    model = storage.load(file)
    row = points[f"MACs ÷ {factor}, best recipe"]
    assert type(model).__module__ == "torchvision.models.resnet"
    assert storage.stored_bytes(file) == row["stored_bytes"] <= most_bytes
    assert profiling.count_parameters(model) == row["parameters"]
    assert row["macs_factor"] >= float(factor)
    assert pruning.couple(model).prunable()


@pytest.mark.parametrize(
    ("name", "retained", "speedup"),
    [
        ("MACs ÷ 3.7, one-shot", 0.989, 3.6),
        ("MACs ÷ 11, one-shot", 0.975, 8),
        ("MACs ÷ 3.7, best recipe", 0.995, 3.6),
        ("MACs ÷ 11, best recipe", 0.985, 8),
    ],
)
def test_the_points_reach_what_was_asked_for(points, name, retained, speedup):
    assert points[name]["retained"] >= retained
    assert points[name]["speedup"] >= speedup


@pytest.mark.parametrize("factor", FILES)
def test_one_shot_is_not_behind_torch_pruning(points, factor):
    ours, theirs = points[f"MACs ÷ {factor}, one-shot"], points[f"MACs ÷ {factor}, Torch-Pruning"]
    assert ours["retained_high"] >= theirs["retained"] and ours["speedup"] >= theirs["speedup"]


def test_the_default_criterion_is_the_best_on_validation(results):
    by_name = {
        name: [row["validation"] for row in results["criteria"]["rows"] if row["criterion"] == name]
        for name in CRITERIA
    }
    assert all(len(seeds) == 3 for seeds in by_name.values())
    assert max(by_name, key=lambda name: sum(by_name[name])) == DEFAULT_CRITERION


def test_half_of_minilm_keeps_its_accuracy_and_is_faster(results):
    row = results["minilm"]["rows"][-1]
    assert row["retained"] >= 0.975 and row["speedup"] >= 1.7
    assert set(row["retained_domains"]) == {"movies", "amazon", "tweets"}


def test_grouping_and_removal_take_less_than_a_second(results):
    assert all(row["seconds"] <= 1 for row in results["cost"]["rows"] if row["model"] == "resnet18")


def test_every_table_names_machine_and_threads(results):
    for table in results.values():
        assert table["machine"] and table["threads"] >= 1 and table["rows"]


def test_gradients_on_the_whole_network_help_but_are_worse_than_random_scores(results):
    rows = results["gradients"]["rows"]

    def mean(criterion: str, batches: int, works: bool) -> float:
        found = [
            row["validation"] for row in rows
            if (row["criterion"], row["batches"], row["works"] > 0.9) == (criterion, batches, works)
        ]  # fmt: skip
        assert len(found) == 3
        return sum(found) / 3

    random_scores = [row["validation"] for row in results["criteria"]["rows"] if row["criterion"] == "random"]
    for criterion in ("taylor", "fisher"):
        assert mean(criterion, 8, False) < mean(criterion, 8, True) < sum(random_scores) / 3
        assert mean(criterion, 64, True) < sum(random_scores) / 3
