"""What is shipped: the supernet, its results, and a small part measured again."""

from __future__ import annotations

import pytest
import torch

from course_lib import assets, data, search, training


@pytest.fixture(scope="module")
def results():
    return assets.results("search")


def test_the_shipped_supernet_is_small_and_its_file_keeps_the_accuracy(results):
    rows = {row["subnet"]: row for row in results["supernet"]["rows"]}
    assert assets.path("resnet18_supernet").stat().st_size == rows["largest"]["stored_bytes"] <= 6_000_000
    for row in rows.values():
        assert row["validation_stored"] >= row["validation"] - 0.005


def test_the_smallest_subnet_has_the_accuracy_of_the_results_and_needs_its_own_statistics(results):
    fashion = data.load("fashion_mnist")
    plain = search.load_supernet().extract(search.RESNET18_SPACE.smallest)
    own = search.recalibrate_batchnorm(plain, fashion.train.take(torch.arange(1024)))
    found = training.evaluate(own, fashion.validation).accuracy
    stored = next(row for row in results["supernet"]["rows"] if row["subnet"] == "smallest")
    assert found == pytest.approx(stored["validation_stored"], abs=0.005)
    assert found > training.evaluate(plain, fashion.validation).accuracy + 0.05


def test_peak_memory_by_formula_is_within_ten_percent(results):
    for row in results["memory"]["rows"]:
        subnet = search.RESNET18_SPACE.subnet(row["genes"])
        assert search.peak_activation_bytes(subnet) == row["formula"]
        assert abs(row["error"]) <= 0.1
