"""Run the answers of one submission in the sandbox and decide each question.

A question passes if nbval found its probe's output equal to the reference; an answer that takes no arguments is
judged by its value. A question that ends the kernel or does not come back costs only itself: the rest is run again
without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.grading import cells, nbval_run, probes, sandbox
from course_lib.grading.assignment import Assignment, Reference
from course_lib.grading.submission import is_untouched

TEXT_LIMIT = 300
ANSWER_ERRORS = {"NotAttempted": "not attempted", "NotImplementedError": "not attempted"}


@dataclass(frozen=True)
class Verdict:
    """``status`` is one of passed, wrong, error, stopped, not attempted; ``message`` may hold a learner's text."""

    status: str
    message: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def decide(
    assignment: Assignment,
    answers: Mapping[str, str],
    references: Mapping[str, Reference],
    files: Mapping[str, Path],
    *,
    level: str,
    limits: sandbox.Limits | None = None,
) -> dict[str, Verdict]:
    """A verdict for each question of the assignment that has an answer.

    Raises:
        SandboxError: if the level is not available; nothing was run.
    """
    stubs = {id: one.stub for id, one in assignment.questions.items()}
    verdicts = {id: Verdict("not attempted") for id, source in answers.items() if is_untouched(source, stubs[id])}
    running = {id: source for id, source in answers.items() if id not in verdicts}
    while open_questions := [id for id in running if id not in verdicts]:
        probed = {id: references[id] for id in open_questions}
        notebook = assignment.notebook(running, probed)
        result = nbval_run.run(notebook, files, level=level, limits=limits)
        by_cell = {notebook.cells[index].id: entry for number, index in cells.code_index(notebook).items()
                   if (entry := result.entries.get(number))}  # fmt: skip
        culprit = _culprit(by_cell, open_questions, result.failure)
        for id in open_questions:
            if culprit is None or _before(id, culprit, open_questions):
                verdicts[id] = _verdict(assignment, id, by_cell.get(_probe(id)), references[id])
        if culprit is not None:
            verdicts[culprit] = Verdict("stopped", _stop_reason(by_cell, culprit, result.failure))
            del running[culprit]
    return verdicts


def _culprit(by_cell: Mapping[str, Mapping[str, Any]], questions: list[str], failure: str) -> str | None:
    """The first question at which the kernel was lost; None if it lived to the end."""
    for id in questions:
        for cell in (_answer(id), _probe(id)):
            entry = by_cell.get(cell)
            if entry is None or entry["kernel"] != "alive":
                return id
    return questions[-1] if failure else None


def _stop_reason(by_cell: Mapping[str, Mapping[str, Any]], id: str, failure: str) -> str:
    for cell in (_answer(id), _probe(id)):
        entry = by_cell.get(cell)
        if entry is not None and entry["kernel"] == "late":
            return "it took too long"
        if entry is not None and entry["kernel"] != "alive":
            reason = next((line for line in reversed((entry["report"] or "").splitlines()) if line.strip()), "")
            return (reason.split("LimitExceeded: ")[-1] if "LimitExceeded" in reason else "the kernel ended")[
                :TEXT_LIMIT
            ]
    return failure or "it did not come to an end"


def _verdict(assignment: Assignment, id: str, entry: Mapping[str, Any] | None, reference: Reference) -> Verdict:
    if entry is None:
        return Verdict("stopped", "it was not reached")
    if entry["error"] in ANSWER_ERRORS:
        return Verdict(ANSWER_ERRORS[entry["error"]])
    if entry["error"]:
        return Verdict("error", f"{entry['error']}: {entry['message'] or ''}"[:TEXT_LIMIT])
    if assignment.questions[id].is_data:
        right = entry["passed"] and probes.judge_data(assignment, id, entry["output"].strip(), reference)
    else:
        right = entry["passed"]
    return Verdict("passed") if right else Verdict("wrong", "its values differ from those of a right answer")


def _before(id: str, culprit: str, questions: list[str]) -> bool:
    return questions.index(id) < questions.index(culprit)


def _answer(id: str) -> str:
    return f"answer-{id}".replace(".", "-")


def _probe(id: str) -> str:
    return f"probe-{id}".replace(".", "-")
