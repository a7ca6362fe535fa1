"""Which answers of a notebook are run again, so that a question that breaks something costs only itself.

The answers and helper cells share one kernel. A cell that ends the kernel, or does not come back, is left out and the
rest is run again. Then every question that did not pass is judged once more in a fresh kernel with only what it needs:
itself, and the answers and helper cells whose names it uses. An answer that is not Python cannot pass and is not.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from course_lib.grading import helper_cells
from course_lib.grading.outcome import Status, Stop, Verdict

Answers = Mapping[str, str]
"""Id of a question or helper cell → source, in the order of the program."""


@dataclass(frozen=True)
class Attempt:
    """What one run of some answers showed.

    Args:
        verdicts: verdicts on the probed questions, up to the cell at which the kernel was lost.
        lost_at: the answer or helper cell at which the kernel was lost; None if it was alive at the end.
        no_report: set if the comparison left no report, so that nothing is known about the questions.
    """

    verdicts: Mapping[str, Verdict]
    lost_at: str | None = None
    no_report: Stop | None = None


Run = Callable[[Answers, Sequence[str]], Attempt]
"""Runs answers in one kernel, in order, and probes the named questions."""


def decide(run: Run, answers: Answers, questions: Sequence[str]) -> dict[str, Verdict]:
    """A verdict for each of ``questions``; only what passes in a second run replaces a first verdict."""
    runs = _Runs(run)
    verdicts = runs.decide(answers, questions)
    for id in [id for id in questions if not verdicts[id].passed and helper_cells.is_python(answers[id])]:
        usable = {id for id in answers if id not in verdicts or verdicts[id].status is not Status.STOPPED}
        kept = (helper_cells.needed(id, answers) & usable) | {id}
        alone = {other: source for other, source in answers.items() if other in kept}
        if list(alone) != runs.before[id]:
            verdicts |= {id: found for id, found in runs.decide(alone, [id]).items() if found.passed}
    return verdicts


class _Runs:
    """All runs of one notebook; ``before`` has the cells that ran before each question was judged, and its own."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.before: dict[str, list[str]] = {}

    def decide(self, answers: Answers, questions: Sequence[str]) -> dict[str, Verdict]:
        """A verdict for each of ``questions``, with all ``answers`` in the kernel but those that end it."""
        running, verdicts = dict(answers), dict[str, Verdict]()
        while waiting := [id for id in questions if id not in verdicts]:
            attempt = self.run(running, waiting)
            found, lost_at = dict(attempt.verdicts), attempt.lost_at
            if attempt.no_report is not None:
                lost_at = self._cell_without_report(running, waiting)
                found = {lost_at: Verdict.stopped(attempt.no_report)} if lost_at in waiting else {}
            for id in found:
                self.before[id] = [*itertools.takewhile(partial(operator.ne, id), running), id]
            verdicts |= found
            if lost_at is not None:
                del running[lost_at]
        return verdicts

    def _cell_without_report(self, running: Answers, waiting: Sequence[str]) -> str:
        """The cell without which a run leaves a report; the last one if there is no such cell."""
        for id in running:
            others = {other: source for other, source in running.items() if other != id}
            if self.run(others, [other for other in waiting if other != id]).no_report is None:
                return id
        return list(running)[-1]
