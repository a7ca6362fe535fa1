"""Check and grade accept the same types: a right value of another type is right for both or wrong for both."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from course_lib.learning.expect import CheckFailed
from course_lib.learning.questions import check
from tests.exercises.test_checks import TRIED, answer, graded_source
from tests.exercises.test_probes import passes, references


def deep(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The change applied to every entry of a value and to the value itself."""

    def apply(value: Any) -> Any:
        if type(value) in (list, tuple, set):
            return change(type(value)(apply(entry) for entry in value))
        if type(value) is dict:
            return {key: apply(entry) for key, entry in value.items()}
        return change(value)

    return apply


def number(kinds: tuple[type, ...], change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return deep(lambda value: change(value) if type(value) in kinds else value)


CHANGES = {
    "tuples as lists": deep(lambda value: list(value) if type(value) is tuple else value),
    "lists as tuples": deep(lambda value: tuple(value) if type(value) is list else value),
    "floats as texts": number((float,), str),
    "integers as texts": number((int,), str),
    "integers as floats": number((int,), float),
    "whole floats as integers": number((float,), lambda value: int(value) if value.is_integer() else value),
    "floats as tensors": number((float,), lambda value: torch.tensor(value, dtype=torch.float64)),
    "integers as tensors": number((int,), torch.tensor),
    "tensors as numbers": deep(lambda value: value.item() if torch.is_tensor(value) and not value.dim() else value),
    "tensors as lists": deep(lambda value: value.tolist() if torch.is_tensor(value) and value.dim() else value),
    "half precision": deep(lambda value: value.half() if torch.is_tensor(value) and value.is_floating_point() else value),
    "double precision": deep(
        lambda value: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
    ),
    "a view": deep(lambda value: value.clone().requires_grad_() if torch.is_tensor(value) and value.is_floating_point() else value),
    "nothing": lambda value: None,
}


def changed(question: str, change: Callable[[Any], Any]) -> Any:
    right = answer(question, graded_source(question, solved=True))
    if isinstance(right, type):
        return None

    @functools.wraps(right)
    def other(*args: Any, **kwargs: Any) -> Any:
        return change(right(*args, **kwargs))

    return other


def accepted(question: str, tried: Any) -> bool:
    try:
        check(question, tried)
    except CheckFailed:
        return False
    return True


@pytest.fixture(autouse=True)
def own_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROGRESS", "memory")


@pytest.mark.parametrize("question", [one for one in TRIED if isinstance(one, str)])
@pytest.mark.parametrize("label", CHANGES)
def test_a_right_value_of_another_type_is_right_for_both_or_wrong_for_both(question, label):
    tried = changed(question, CHANGES[label])
    if tried is None:
        return
    assert accepted(question, tried) == passes(question, tried, references(question)[0])
