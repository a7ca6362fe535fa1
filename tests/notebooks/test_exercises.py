"""Exercises match their solutions, score nothing as handed out, and full marks when solved."""

from __future__ import annotations

import pytest

from course_lib.grading import building, cells, selfcheck

SOLUTIONS = sorted(building.SOLUTIONS.glob("*.ipynb"))
EXERCISES = sorted(building.EXERCISES.glob("*.ipynb"))


def test_exercises_match_their_solutions():
    drifted = [path.name for path in building.build(check=True)]
    assert not drifted, f"run `course build` and commit {', '.join(drifted)}"


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_the_first_cell_says_which_cells_are_judged(path):
    first = cells.read(path).cells[0].source
    assert "cells that you add if they hold only imports, functions, classes and constants" in first
    assert "define what an answer needs in the answer or in a cell of its own" in first


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_an_untouched_exercise_scores_nothing_and_says_not_attempted(path):
    (result,) = selfcheck.check([path])
    assert result.points == 0 and result.max_points == 20 and result.problems == []
    assert {entry.status for entry in result.questions} == {"not attempted"}


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_a_solution_has_full_marks(path):
    (result,) = selfcheck.check([path])
    assert result.complete and result.points == 20, selfcheck.summary([result])
    assert result.problems == []
