"""The time that all runs of one submission may take together, so that many slow answers do not hold a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nbformat import NotebookNode

from course_lib.grading import nbval_run
from course_lib.grading.outcome import Stop, StopReason
from course_lib.grading.sandbox_view import Limits


class TimeBudget:
    """Runs the notebooks of one submission as long as there is time left; ``spent`` counts as the guard does."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.spent = 0.0

    def run(self, notebook: NotebookNode, files: Mapping[str, Path], level: str) -> nbval_run.Run:
        """``nbval_run.run`` with at most the seconds that are left; without any, nothing is run.

        Raises:
            SandboxError: if this level does not work here.
        """
        left = self.limits.submission_seconds - self.spent
        if left <= 0:
            return nbval_run.Run({}, self.stop())
        limits = replace(self.limits, notebook_seconds=min(left, self.limits.notebook_seconds))
        run = nbval_run.run(notebook, files, level=level, limits=limits)
        self.spent += run.seconds
        return run

    def is_spent(self) -> bool:
        """Whether nothing can be run any more."""
        return self.spent >= self.limits.submission_seconds

    def stop(self) -> Stop:
        """Why nothing is run any more."""
        return Stop(StopReason.TIME, f"the submission took longer than {self.limits.submission_seconds:g} seconds")
