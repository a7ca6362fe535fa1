"""The stored results of ``benchmarks/grading_agreement.py`` and ``benchmarks/class_layouts.py``."""

from __future__ import annotations

import grading_variations

from course_lib import assets


def test_check_and_grade_agree_on_every_notebook_that_was_run():
    tables = assets.results("grading_agreement")["tables"]
    rows = tables["variations"]
    assert len(rows) >= 113 and [row["seed"] for row in rows] == list(range(len(rows)))
    assert all(row["agree"] and row["check"] == row["grade"] and row["notes"] for row in rows)
    assert {name for row in rows for name in row["changes"].split(", ")} == set(grading_variations.CHANGES)
    scoring = sum(row["grade"] > 0 for row in rows)
    assert scoring >= 2 / 3 * len(rows)
    assert tables["agreement"] == [{"variations": len(rows), "agree": len(rows), "score": scoring, "differ": "none"}]


def test_a_class_of_60_gets_60_right_lines_in_each_layout():
    rows = assets.results("class_layouts")["tables"]["layouts"]
    assert [row["layout"] for row in rows] == ["nbgrader", "Moodle", "Canvas"]
    for row in rows:
        assert (row["students"], row["lines"], row["exit code"], row["wrong"]) == (60, 60, 0, 0), row["first wrong"]
