"""Every reference answer agrees with an independent right answer to its question."""

from __future__ import annotations

import importlib

import pytest

from course_lib.learning.difference import difference
from course_lib.learning.values import plain
from tests.exercises.independent import INDEPENDENT
from tests.exercises.test_checks import TRIED


def test_every_question_has_an_independent_answer():
    assert list(INDEPENDENT) == list(TRIED)


@pytest.mark.parametrize("question", TRIED)
def test_the_reference_agrees_with_an_independent_answer(question):
    reference = importlib.import_module(f"course_lib.learning.exercises.lesson_{question[:2]}.reference")
    pairs = list(INDEPENDENT[question](reference))
    assert pairs
    for found, expected in pairs:
        assert difference(plain(found), plain(expected), (1e-4, 1e-5)) is None
