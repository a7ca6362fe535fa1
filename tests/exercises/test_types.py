"""Check and grade accept the same types: a number that is written as text is wrong for both."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from course_lib.grading import probe_runtime
from course_lib.learning.answer import Answer
from course_lib.learning.expect import CheckFailed, as_float
from course_lib.learning.questions import check
from tests.exercises.test_checks import answer, graded_source
from tests.exercises.test_probes import assignment


@pytest.fixture(autouse=True)
def own_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROGRESS", "memory")


def as_texts(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(as_texts(entry) for entry in value)
    return str(value) if type(value) is float else value


@pytest.mark.parametrize("question", ["03.3", "05.2", "06.4", "08.3"])
def test_numbers_as_texts_are_wrong_for_both(question):
    right = answer(question, graded_source(question, solved=True))

    @functools.wraps(right)
    def other(*args: Any, **kwargs: Any) -> Any:
        return as_texts(right(*args, **kwargs))

    exercise = assignment(question[:2])
    with pytest.raises(CheckFailed):
        check(question, other)
    with pytest.raises(CheckFailed, match="expected a number"):
        probe_runtime.values(exercise.module, exercise.questions[question].probe, Answer(other).function, 1)
    probe_runtime.values(exercise.module, exercise.questions[question].probe, right, 1)


def test_a_tensor_without_dimensions_is_a_number():
    import torch

    assert as_float(torch.tensor(2.5)) == 2.5 and as_float(3) == 3.0
