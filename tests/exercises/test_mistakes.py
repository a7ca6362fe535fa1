"""Every known mistake fails the check of its question, and a learner who makes it gets its advice."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

from course_lib.learning import diagnosis, questions
from course_lib.learning.expect import CheckFailed
from tests.exercises.test_checks import LESSONS, TRIED

NAMES = {lesson: f"{questions.EXERCISES}.lesson_{lesson}.mistakes" for lesson in LESSONS}
MISTAKES = {lesson: importlib.import_module(name) for lesson, name in NAMES.items() if importlib.util.find_spec(name)}
KNOWN = [(id, said) for module in MISTAKES.values() for id, one in module.MISTAKES.items() for said in one.known]


@pytest.fixture(autouse=True)
def own_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROGRESS", "memory")


@pytest.mark.parametrize(("question", "said"), KNOWN, ids=lambda value: value[:40])
def test_a_known_mistake_gets_its_advice(question, said):
    function = dict(diagnosis.variants(question))[said]
    with pytest.raises(CheckFailed) as failure:
        questions.check(question, function)
    assert failure.value.hint == said


def test_mistakes_are_those_of_questions_that_exist():
    assert {id for id, _ in KNOWN} <= set(TRIED)


def test_an_edit_that_does_not_occur_is_an_error(monkeypatch):
    module = MISTAKES["01"]
    broken = diagnosis.Mistakes("dense_bytes", {"advice": [("not in the reference", "")]})
    monkeypatch.setitem(module.MISTAKES, "01.1", broken)
    with pytest.raises(ValueError, match="must occur in the reference"):
        list(diagnosis.variants("01.1"))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("loss: expected 1.0, got 2.00001", "loss: expected 1.0, got 2.0"),
        ("w at index [0, 1]: expected 1.0, got 2.0 (3 of 6 entries differ)",
         "w at index [0, 1]: expected 1.0, got 2.0 (4 of 6 entries differ)"),
        ("your function raised ZeroDivisionError: division by zero (line 3: `a / b`)",
         "your function raised ZeroDivisionError: division by zero (line 12)"),
    ],
)  # fmt: skip
def test_rounding_errors_and_line_numbers_do_not_hide_a_mistake(found, expected):
    assert _advice(diagnosis.Failure(2, found), diagnosis.Failure(2, expected)) == "Eight"


@pytest.mark.parametrize(
    "found",
    [
        diagnosis.Failure(3, "bytes: expected 40, got 320"),
        diagnosis.Failure(2, "bytes: expected 40, got 321"),
        diagnosis.Failure(2, "bits: expected 40, got 320"),
    ],
)
def test_another_call_number_or_word_is_another_mistake(found):
    assert _advice(found, diagnosis.Failure(2, "bytes: expected 40, got 320")) is None


def _advice(found: diagnosis.Failure, known: diagnosis.Failure) -> str | None:
    return "Eight" if diagnosis.advice("01.1", found, lambda question, function: known) else None
