"""Copies are reported as similar, also of the course's code; what everybody was given makes no answer similar."""

from __future__ import annotations

import inspect

import pytest

from course_lib import pruning
from course_lib.grading import building, known_code, similarity
from course_lib.grading.outcome import Status
from course_lib.grading.results import GradedQuestion, GradedSubmission

ANSWER = """
def f(weights, share):
    total = sum(len(row) for row in weights)
    order = sorted(range(total), key=lambda place: abs(weights[place]))
    return [place not in order[: round(share * total)] for place in range(total)]
"""
RENAMED = ANSWER.replace("weights", "w").replace("order", "ranking").replace("place", "i").replace("f(", "g(")
OTHER = """
def f(weights, share):
    limit = torch.quantile(weights.abs(), share)
    mask = weights.abs() > limit
    while mask.sum() < 3:
        limit = limit * 0.9
        mask = weights.abs() > limit
    return mask
"""


def submitted(**answers):
    asked = (GradedQuestion("03.1", 5.0, 5.0, Status.PASSED),)
    return [
        GradedSubmission(student, "bwrap", "k", questions=asked, answers={"03.1": source})
        for student, source in answers.items()
    ]


def test_renamed_copies_are_found_and_different_answers_are_not():
    results = submitted(anna=ANSWER, ben=RENAMED, cleo=OTHER, dora="x = 1")
    (pair,) = similarity.report(results, {}, {})
    assert (pair.first, pair.second, pair.similarity) == ("anna", "ben", 1.0)


def test_what_everybody_was_given_makes_nothing_similar():
    given = {"03.1": similarity.fingerprint(ANSWER)}
    assert similarity.report(submitted(anna=ANSWER, ben=RENAMED), given, {}) == []
    assert similarity.report(submitted(anna=ANSWER + OTHER, ben=RENAMED + OTHER), given, {})


@pytest.mark.parametrize("lesson", ["01", "03"])
def test_a_class_that_answers_as_the_course_does_is_not_listed(lesson):
    (source,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
    solution = building.cells.read(source)
    answers = {id: solution.cells[place.answer].source for id, place in building.cells.questions(solution).items()}
    asked = tuple(GradedQuestion(id, 5.0, 5.0, Status.PASSED) for id in answers)
    results = [GradedSubmission(name, "bwrap", "k", questions=asked, answers=answers) for name in ("anna", "ben")]
    assert any(similarity.report(results, {}, {}))
    assert similarity.report(results, known_code.given(lesson, building.SOLUTIONS), known_code.course()) == []


def test_the_courses_own_code_is_recognised():
    function = pruning.couple
    pairs = similarity.report(submitted(anna=inspect.getsource(function)), {}, known_code.course())
    assert any(pair.second.endswith(f": {function.__name__}") and pair.similarity == 1.0 for pair in pairs)
