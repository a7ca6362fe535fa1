"""All exercises and students that were graded into a folder stay in its tables."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from course_lib.grading import class_files, results
from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion, GradedSubmission

ASSIGNMENTS = {"01": "01_compression_calculator", "03": "03_magnitude_pruning"}


def graded(student, lesson, points, **more):
    question = GradedQuestion(f"{lesson}.1", points, 5.0, Status.PASSED)
    return GradedSubmission(student, "bwrap", "k", ASSIGNMENTS[lesson], questions=(question,), lesson=lesson, **more)


def grades(out):
    with (out / "grades.csv").open(newline="") as file:
        return {(row["student"], row["assignment"]): row for row in csv.DictReader(file)}


def points(out):
    return {identity: float(row["counts"]) for identity, row in grades(out).items()}


def test_one_late_student_changes_her_row_only(tmp_path):
    first = [graded("anna", "01", 5.0), graded("ben", "01", 3.0, manual={"01.1": 4.0}), graded("cleo", "01", 1.0)]
    class_files.write(first, tmp_path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "feedback").iterdir()}
    class_files.write([graded("anna", "01", 4.0, late_penalty=0.5)], tmp_path)
    name = ASSIGNMENTS["01"]
    assert points(tmp_path) == {("anna", name): 2.0, ("ben", name): 4.0, ("cleo", name): 1.0}
    changed = {name for name, text in before.items() if (tmp_path / "feedback" / name).read_bytes() != text}
    assert {name.partition("-")[0] for name in changed} == {"anna"} and len(changed) == 2
    records = json.loads((tmp_path / "results.json").read_text())
    assert [(one["student"], one["score"]) for one in records] == [("anna", 2.0), ("ben", 4.0), ("cleo", 1.0)]


def test_all_exercises_of_a_folder_stay_in_the_tables(tmp_path):
    class_files.write([graded("anna", "01", 5.0)], tmp_path)
    class_files.write([graded("anna", "03", 3.0), graded("ben", "03", 2.0)], tmp_path)
    assert points(tmp_path) == {
        ("anna", ASSIGNMENTS["01"]): 5.0, ("anna", ASSIGNMENTS["03"]): 3.0, ("ben", ASSIGNMENTS["03"]): 2.0,
    }  # fmt: skip
    assert len(json.loads((tmp_path / "results.json").read_text())) == 3
    assert len(list((tmp_path / "feedback").glob("*.html"))) == 3


def test_a_line_with_a_reason_ends_when_the_student_hands_something_in(tmp_path):
    empty = results.refused("anna", "the folder is empty", "bwrap")
    class_files.write([empty, graded("ben", "01", 2.0)], tmp_path)
    assert grades(tmp_path)["anna", ""]["problem"] == "the folder is empty"
    class_files.write([graded("anna", "01", 5.0)], tmp_path)
    assert points(tmp_path) == {("anna", ASSIGNMENTS["01"]): 5.0, ("ben", ASSIGNMENTS["01"]): 2.0}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', '[{"schema": 1}]'])
def test_a_damaged_record_of_earlier_runs_stops_nothing(tmp_path, text):
    (tmp_path / class_files.KEPT).write_text(text)
    class_files.write([graded("anna", "01", 5.0)], tmp_path)
    assert len(points(tmp_path)) == 1


def test_what_was_not_graded_is_in_the_table(tmp_path):
    others = ("anna/03.ipynb: an earlier attempt, not graded", "anna/x.ipynb: not graded, no exercise")
    class_files.write([replace(graded("anna", "01", 5.0), others=others)], tmp_path)
    assert grades(tmp_path)["anna", ASSIGNMENTS["01"]]["not_graded"] == "; ".join(others)
