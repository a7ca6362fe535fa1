"""Hints open one after another."""

from __future__ import annotations

import pytest

from course_lib.learning import hint, progress

VIEW = "application/vnd.jupyter.widget-view+json"


def test_hints_open_one_after_another_and_are_recorded(declare):
    panel = hint(declare(lambda answer: None))
    assert panel._shown.value.count("learn-line") == 0 and panel._more.description == "Hint 1 of 3"
    for opened, last in ((1, "look"), (2, "look closer"), (3, "nearly there")):
        panel._more.click()
        assert (
            panel.opened == opened and panel._shown.value.count("learn-line") == opened and last in panel._shown.value
        )
        assert progress.read()["hints"]["99.1"] == opened
    assert panel._more.description == "All hints are open" and not panel._more.disabled, "the focus stays on it"
    panel._more.click()
    assert panel.opened == 3 and panel.error is None


def test_hints_are_not_given_away_without_a_kernel(declare):
    panel = hint(declare(lambda answer: None))
    panel.open_next()
    bundle = panel._repr_mimebundle_()
    assert "nearly there" not in bundle["text/html"] and "look" not in bundle["text/plain"]
    assert "3 hints for 99.1 A trial" in bundle["text/html"] and VIEW in bundle


def test_a_hint_for_an_unknown_question_is_refused():
    with pytest.raises(ValueError, match="no exercise"):
        hint("98.1")
