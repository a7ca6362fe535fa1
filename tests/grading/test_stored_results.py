"""The stored results of ``benchmarks/grading_agreement.py`` and ``benchmarks/class_layouts.py``."""

from __future__ import annotations

import grading_variations

from course_lib import assets


def test_check_and_grade_agree_on_300_notebooks_of_which_200_score():
    tables = assets.results("grading_agreement")["tables"]
    rows = tables["variations"]
    assert [row["seed"] for row in rows] == list(range(300))
    assert all(row["agree"] and row["check"] == row["grade"] and row["notes"] for row in rows)
    assert {name for row in rows for name in row["changes"].split(", ")} == set(grading_variations.CHANGES)
    scoring = sum(row["grade"] > 0 for row in rows)
    assert scoring >= 200
    assert tables["agreement"] == [{"variations": 300, "agree": 300, "score": scoring, "differ": "none"}]


def test_a_class_of_60_gets_60_right_lines_in_each_layout():
    rows = assets.results("class_layouts")["tables"]["layouts"]
    assert [row["layout"] for row in rows] == ["nbgrader", "Moodle", "Canvas"]
    for row in rows:
        assert (row["students"], row["lines"], row["exit code"], row["wrong"]) == (60, 60, 0, 0), row["first wrong"]


def test_a_class_is_graded_fast_in_little_memory_and_nothing_twice():
    tables = assets.results("grading")["tables"]
    one, two, other = tables["grading"]
    assert one["times_nbgrader"] >= 3 and two["times_nbgrader"] >= 5 and other["times_nbgrader"] == 1
    assert tables["scaling"][0]["times_one_worker"] >= 1.85
    assert two["peak_memory_mb"] <= 2000
    [resumed] = tables["resuming"]
    assert resumed["kills"] == 20 and resumed["done_before"] > 0
    assert resumed["done_again"] == 0 and resumed["graded"] == resumed["submissions"] and resumed["same_points"]
