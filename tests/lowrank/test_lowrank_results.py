"""The shipped factored file, and the stored measurements of benchmarks/lowrank.py."""

from __future__ import annotations

import pytest

from course_lib import assets, lowrank, models, storage


@pytest.fixture(scope="module")
def results():
    return assets.results("lowrank")


def row(results, part, **wanted):
    return next(row for row in results[part]["rows"] if all(row[key] == value for key, value in wanted.items()))


def test_the_factored_file_is_three_times_smaller_twice_as_fast_and_almost_as_good(results):
    file = assets.path("resnet18_lowrank")
    measured = row(results, "compare", name="low-rank, fp16 values")
    assert storage.stored_bytes(file) == measured["stored_bytes"]
    model = storage.load(file)
    assert lowrank.parameters(model) == measured["parameters"]
    assert lowrank.parameters(models.load("resnet18")) >= 3 * measured["parameters"]
    assert any(isinstance(module, lowrank.Factored) for module in model.modules())
    assert measured["retained"] >= 0.985 and measured["speedup"] >= 2
    assert measured["retained_low"] <= measured["retained"] <= measured["retained_high"]


def test_with_fp32_values_it_is_three_times_smaller_too(results):
    assert row(results, "compare", name="low-rank, fp32 values")["ratio"] >= 2.95


def test_the_encoder_of_minilm_is_half_as_large_and_almost_as_good(results):
    tuned = row(results, "minilm", name="data-aware SVD, fine-tuned")
    assert tuned["encoder_smaller"] >= 1.9 and tuned["retained"] >= 0.975
    assert {"movies", "amazon", "tweets"} <= tuned["domains"].keys()


def test_all_layers_are_decomposed_within_twenty_seconds(results):
    rows = {one["what"]: one["seconds"] for one in results["seconds"]["rows"]}
    assert {"SVD", "data-aware SVD", "Tucker-2", "CP"} <= rows.keys()
    assert max(rows.values()) <= 20


def test_every_table_names_machine_threads_and_rows(results):
    assert {"untrained", "seconds", "forms", "tuned", "compare", "minilm", "embedding"} <= results.keys()
    for table in results.values():
        assert table["machine"] and table["threads"] >= 1 and table["rows"]
