"""Every probe is itself tested: over many seeds it tells each wrong answer from a right one, as the grader compares."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from course_lib.grading import building, probe_runtime, probes
from course_lib.grading.assignment import Assignment, Reference
from course_lib.grading.judge import judge
from course_lib.learning.answer import Answer
from tests.exercises.test_checks import RIGHT, TRIED, WRONG, answer, graded_source

KEY, SEEDS = b"the key of these tests", 20


@functools.cache
def assignment(lesson: str) -> Assignment:
    (path,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
    return Assignment(path)


@functools.cache
def reference(question: str, place: int) -> Reference:
    """What the solution prints for one seed of the pool."""
    exercise, solution = assignment(question[:2]), answer(question, graded_source(question, solved=True))
    draws = [probes.seed(KEY, exercise.name, question, place, draw) for draw in range(probes.REDRAWS)]
    one = probes.reference(solution, exercise.module, exercise.questions[question].probe, draws)
    return Reference(one["seed"], one["line"], tuple(one["floors"]))


def references(question: str) -> list[Reference]:
    """What the solution prints for each seed of a pool of ``SEEDS``."""
    return [reference(question, place) for place in range(SEEDS)]


def passes(question: str, tried: Any, reference: Reference) -> bool:
    """Whether an answer would be given its points: the comparison of the grader, without kernel and sandbox."""
    exercise = assignment(question[:2])
    asked = exercise.questions[question]
    try:
        if asked.is_data:
            printed = json.dumps(probe_runtime.tagged(Answer(tried)()), allow_nan=False)
            return judge(exercise.module, asked.probe, printed, reference.seed, reference.line, reference.floors)
        values = probe_runtime.values(exercise.module, asked.probe, tried, reference.seed)
        return probe_runtime.Writer(reference.floors).write(values) == reference.line
    except Exception:
        return False


def verdicts(question: str, source: str) -> list[bool]:
    tried = answer(question, source)
    return [passes(question, tried, reference) for reference in references(question)]


@pytest.fixture(autouse=True)
def own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))


@pytest.mark.parametrize("question", TRIED)
def test_the_seeds_differ_and_the_solution_passes_with_each(question):
    assert len({reference.seed for reference in references(question)}) == SEEDS
    assert verdicts(question, graded_source(question, solved=True)) == [True] * SEEDS


FEWEST_LINES, SHORTEST_LINE = 15, 12


@pytest.mark.parametrize("question", TRIED)
def test_what_a_right_answer_prints_cannot_be_guessed(question):
    """An answer without arguments is judged by its value; every other one must print something new for a seed."""
    lines = {reference.line for reference in references(question)}
    if not assignment(question[:2]).questions[question].is_data:
        assert len(lines) >= FEWEST_LINES and min(map(len, lines)) >= SHORTEST_LINE


@pytest.mark.parametrize("question", TRIED)
def test_the_stub_fails_with_each(question):
    assert verdicts(question, graded_source(question, solved=False)) == [False] * SEEDS


@pytest.mark.parametrize(("question", "label"), WRONG, ids=lambda value: value)
def test_a_wrong_answer_fails_with_each(question, label):
    assert verdicts(question, TRIED[question].wrong[label]) == [False] * SEEDS


@pytest.mark.parametrize(("question", "label"), RIGHT, ids=lambda value: value)
def test_another_right_answer_passes_with_each(question, label):
    assert verdicts(question, TRIED[question].right[label]) == [True] * SEEDS
