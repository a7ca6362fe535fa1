"""All runs of a submission share one budget."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_notebook

from course_lib.grading import nbval_run, sandbox
from course_lib.grading.time_budget import TimeBudget


@pytest.fixture
def given(monkeypatch):
    """The limits of each run; each takes 60 seconds."""
    found = []

    def run(notebook, files, *, level, limits):
        found.append(limits.notebook_seconds)
        return nbval_run.Run({}, None, 60.0)

    monkeypatch.setattr(nbval_run, "run", run)
    return found


def test_a_run_gets_what_is_left_and_none_follows_the_last(given):
    budget = TimeBudget(sandbox.Limits(notebook_seconds=100, submission_seconds=150))
    for _ in range(3):
        assert budget.run(new_notebook(), {}, "bwrap").failure is None
    assert given == [100, 90, 30] and budget.is_spent()
    last = budget.run(new_notebook(), {}, "bwrap")
    assert last.cells == {} and last.failure.text == "the submission took longer than 150 seconds"
    assert len(given) == 3
