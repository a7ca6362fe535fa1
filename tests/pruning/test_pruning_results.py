"""The shipped pruned files, and the stored measurements of benchmarks/pruning.py."""

from __future__ import annotations

import pytest

from course_lib import assets, pruning, storage


@pytest.fixture(scope="module")
def results():
    return assets.results("pruning")


@pytest.mark.parametrize(
    ("name", "sparsity", "most_bytes", "least_retained"), [("90", 0.90, 3.8e6, 0.99), ("95", 0.95, 2.7e6, 0.98)]
)
def test_a_pruned_file_is_small_sparse_and_almost_as_good(results, name, sparsity, most_bytes, least_retained):
    file = assets.path(f"resnet18_pruned_{name}")
    assert storage.stored_bytes(file) <= most_bytes
    assert pruning.sparsity(storage.load(file)) == pytest.approx(sparsity, abs=1e-3)
    row = next(row for row in results["compare"]["rows"] if row["name"] == f"{name} %, fp16 values")
    assert row["stored_bytes"] == storage.stored_bytes(file)
    assert row["retained"] >= least_retained
    assert row["retained_low"] <= row["retained"] <= row["retained_high"]


def test_ninety_percent_with_fp32_values_stays_within_six_megabytes(results):
    row = next(row for row in results["compare"]["rows"] if row["name"] == "90 %, fp32 values")
    assert row["stored_bytes"] <= 6.0e6


def test_every_table_names_machine_threads_and_rows(results):
    tables = {name: table for name, table in results.items() if name != "curves"}
    assert {
        "cut_only",
        "fine_tuned",
        "compare",
        "size_trap",
        "csr",
        "sensitivity",
        "lottery",
        "minilm",
    } <= tables.keys()
    for table in tables.values():
        assert table["machine"] and table["threads"] >= 1 and table["rows"]


def test_curves_start_at_the_baseline_and_fine_tuning_pays_where_cutting_hurts(results):
    curves = results["curves"]
    for rule in curves["curves"].values():
        assert all(curve["sparsity"][0] == 0 and curve["accuracy"][0] == curves["accuracy"] for curve in rule)
    cut, tuned = curves["curves"]["one for the whole model"]
    at = dict(zip(cut["sparsity"], cut["accuracy"], strict=True))
    assert all(
        accuracy > at[sparsity]
        for sparsity, accuracy in zip(tuned["sparsity"], tuned["accuracy"], strict=True)
        if sparsity >= 0.9
    )
