"""Which answers of a submission are run again, so that a question that breaks something costs only itself.

The answers share one kernel. A question that ends it, or does not come back, is left out and the rest is run again;
so are failed questions that an earlier answer may have harmed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from course_lib.grading import shortcut_detection
from course_lib.grading.outcome import Status, Stop, StopReason, Verdict

Answers = Mapping[str, str]


@dataclass(frozen=True)
class Attempt:
    """What one run of some answers showed.

    Args:
        verdicts: verdicts on the probed questions, up to the one at which the kernel was lost.
        lost_at: the question at which the kernel was lost; None if it was alive at the end.
        broken: questions whose answer cell did not pass.
        no_report: set if the comparison left no report, so that nothing is known about the questions.
    """

    verdicts: Mapping[str, Verdict]
    lost_at: str | None = None
    broken: frozenset[str] = frozenset()
    no_report: Stop | None = None


Run = Callable[[Answers, Sequence[str]], Attempt]
"""Runs answers in one kernel, in order, and probes the named questions."""


def decide(run: Run, answers: Answers) -> dict[str, Verdict]:
    """A verdict for each answer; only what passes in a second run replaces a first verdict."""
    runs = _Runs(run)
    verdicts = runs.decide(answers, list(answers))
    failed = [id for id, verdict in verdicts.items() if not verdict.passed]
    suspects = {id for id in failed if runs.may_have_harmed(id, answers[id], verdicts[id])}
    harmed = [id for id in failed if id not in suspects]
    if suspects and harmed:
        innocent = {id: source for id, source in answers.items() if id not in suspects}
        verdicts |= _passed(runs.decide(innocent, harmed))
    if len(answers) > 1:
        passed = set(_passed(verdicts))
        for id in [id for id, verdict in verdicts.items() if verdict.stop_reason is StopReason.KERNEL_ENDED]:
            # an earlier answer may have ended the kernel with a delay
            apart = {other: source for other, source in answers.items() if other in passed | {id}}
            verdicts |= _passed(runs.decide(apart, [id]))
    return verdicts


class _Runs:
    """All runs of one submission."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.broken: set[str] = set()

    def decide(self, answers: Answers, questions: Sequence[str]) -> dict[str, Verdict]:
        """A verdict for each of ``questions``, with all ``answers`` in the kernel but those that end it."""
        running, verdicts = dict(answers), dict[str, Verdict]()
        while waiting := [id for id in questions if id not in verdicts]:
            attempt = self.run(running, waiting)
            self.broken |= attempt.broken
            verdicts |= attempt.verdicts
            lost_at = attempt.lost_at
            if attempt.no_report is not None:
                lost_at = self._question_without_report(running, waiting)
                verdicts |= {lost_at: Verdict.stopped(attempt.no_report)} if lost_at in waiting else {}
            if lost_at is not None:
                del running[lost_at]
        return verdicts

    def may_have_harmed(self, id: str, source: str, verdict: Verdict) -> bool:
        """Whether a failed answer may have harmed others: it broke, was stopped, or inspects its surroundings."""
        return verdict.status is Status.STOPPED or id in self.broken or bool(shortcut_detection.flags(source))

    def _question_without_report(self, running: Answers, waiting: Sequence[str]) -> str:
        """The question without which a run leaves a report; the last one if there is no such question."""
        for id in running:
            others = {other: source for other, source in running.items() if other != id}
            if self.run(others, [other for other in waiting if other != id]).no_report is None:
                return id
        return list(running)[-1]


def _passed(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    return {id: verdict for id, verdict in verdicts.items() if verdict.passed}
