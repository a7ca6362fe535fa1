"""Check and grade accept the same types: lists for tuples, any floating dtype, but no text for a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from course_lib.learning.expect import CheckFailed, as_float, as_whole
from course_lib.learning.questions import check
from tests.exercises.test_checks import TRIED, answer, graded_source
from tests.exercises.test_probes import passes, reference
from tests.exercises.type_variations import RIGHT, WRONG, Change, retyped

INSIDE = ("03.5", "06.5")
"""Classes whose methods use the results of others, so that a change of type breaks them from within."""
QUESTIONS = [question for question in TRIED if question not in INSIDE]


@pytest.fixture(autouse=True)
def own_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROGRESS", "memory")


def verdicts(question: str, changes: Mapping[str, Change]) -> dict[str, tuple[bool, bool]]:
    """What check and grade say about a right answer with other types; without changes that change nothing."""
    right, found = answer(question, graded_source(question, solved=True)), {}
    for name, change in changes.items():
        other, changed = retyped(right, change)
        try:
            checked = check(question, other) is not None
        except CheckFailed:
            checked = False
        if changed:
            found[name] = (checked, passes(question, other, reference(question, 0)))
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_other_types_with_the_right_values_are_right_for_both(question):
    found = verdicts(question, RIGHT)
    assert all(verdict == (True, True) for verdict in found.values()), found


@pytest.mark.parametrize("question", QUESTIONS)
def test_types_that_mean_something_else_are_wrong_for_both(question):
    found = verdicts(question, WRONG)
    assert all(verdict == (False, False) for verdict in found.values()), found


def test_the_changes_of_types_reach_the_questions():
    tried: list[Any] = [name for question in ("01.4", "02.3", "05.2", "06.4") for name in verdicts(question, RIGHT)]
    assert {"lists for tuples", "tensors without dimensions", "NumPy numbers"} <= set(tried)


def test_a_tensor_without_dimensions_is_a_number():
    assert as_float(torch.tensor(2.5)) == 2.5 and as_float(3) == 3.0 and as_whole(torch.tensor(3)) == 3
    for value in (2.0, torch.tensor(2.0), True, "2", torch.tensor([2])):
        with pytest.raises(CheckFailed, match="expected a whole number, an int, got"):
            as_whole(value)
