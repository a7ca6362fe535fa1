"""How benchmarks/coding.py chooses a file, and what its stored results say."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from course_lib import assets

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("coding_parts")


def row(c, stored_bytes, lost, changed):
    """A candidate: bytes, and the shares of 1 that validation lost and that changed."""
    return {
        "c": c, "stored_bytes": stored_bytes, "validation": 0.9 - lost, "validation_before": 0.9,
        "validation_agreement": 1 - changed, "agreement": 1 - changed,
    }  # fmt: skip


def test_a_predicted_loss_is_a_share_of_the_changed_answers(parts):
    """Validation shows that 0.4 of the changes are losses, the value set beforehand is 0.2: 0.3 is used."""
    rows = [row(1.0, 100, 0.004, 0.01), row(2.0, 50, 0.008, 0.02)]
    assert parts.predicted_drop(rows) == pytest.approx({1.0: 0.3 * 0.01 / 0.9, 2.0: 0.3 * 0.02 / 0.9})


def test_a_lucky_validation_does_not_promise_a_gain(parts):
    drops = parts.predicted_drop([row(1.0, 100, -0.01, 0.02)])
    assert drops[1.0] == pytest.approx(0.1 * 0.02 / 0.9)


def test_the_smallest_file_that_fits_is_chosen(parts):
    case = parts.Case("any", 1.0, (), ())
    rows = [row(1.0, 100, 0.002, 0.01), row(2.0, 50, 0.004, 0.02), row(3.0, 25, 0.02, 0.1)]
    assert parts.choose(case, rows, (120, 0.99))["c"] == 2.0
    assert parts.choose(case, rows, (120, 0.9975))["c"] == 1.0


def test_a_file_that_loses_more_on_validation_is_not_chosen(parts):
    case = parts.Case("any", 1.0, (), ())
    rows = [row(1.0, 100, 0.002, 0.01), row(2.0, 50, 0.01, 0.02)]
    assert parts.choose(case, rows, (120, 0.99))["c"] == 1.0


def test_a_point_above_the_shipped_file_gets_the_best_that_is_smaller(parts):
    case = parts.Case("any", 0.97, (), ())
    rows = [row(1.0, 100, 0.0, 0.001), row(2.0, 80, 0.001, 0.01), row(3.0, 70, 0.003, 0.02)]
    assert parts.choose(case, rows, (100, 0.98))["c"] == 2.0


def test_the_cases_are_the_points_of_the_task(parts):
    assert len(parts.CASES) == 8 and sum(len(case.points) for case in parts.CASES.values()) == 14
    assert all(list(case.c) == sorted(case.c) for case in parts.CASES.values())


def test_the_stored_points_agree_with_themselves(parts):
    rows = assets.results("coding")["points"]["rows"]
    for one in rows:
        case = parts.CASES[one["model"]]
        assert (one["nncodec_bytes"], one["nncodec_retained"]) in case.points and one["c"] in case.c
        assert one["ratio"] == pytest.approx(one["stored_bytes"] / one["nncodec_bytes"])
        assert one["retained"] == pytest.approx(one["accuracy"] / one["baseline"])
        assert one["retained_low"] <= one["retained"] <= one["retained_high"]
