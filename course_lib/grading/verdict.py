"""Run the answers of one submission in the sandbox and decide each question.

A question passes if nbval found its probe's output equal to the reference; an answer that takes no arguments is
judged by its value. A question that ends the kernel or does not come back costs only itself: the rest is run again
without it, and so are failed questions if an earlier answer may have harmed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.grading import cells, nbval_run, probes, sandbox, shortcut_detection
from course_lib.grading.assignment import Assignment, Reference
from course_lib.grading.submission import is_untouched

TEXT_LIMIT = 300
KERNEL_ENDED = "the kernel ended"
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
        RuntimeError: if the grader itself does not work, whatever the submission.
    """
    stubs = {id: one.stub for id, one in assignment.questions.items()}
    untouched = {id for id, source in answers.items() if is_untouched(source, stubs[id])}
    attempt = _Attempt(assignment, references, files, level, limits)
    running = {id: answers[id] for id in assignment.questions if id in answers and id not in untouched}
    verdicts = attempt.run(running, list(running))
    suspects = {id for id, found in verdicts.items() if not found.passed and attempt.is_suspect(id, running[id], found)}
    hurt = [id for id, found in verdicts.items() if not found.passed and id not in suspects]
    if suspects and hurt:
        innocent = {id: source for id, source in running.items() if id not in suspects}
        verdicts |= {id: found for id, found in attempt.run(innocent, hurt).items() if found.passed}
    verdicts |= attempt.run_apart(running, verdicts)
    return {id: verdicts.get(id, Verdict("not attempted")) for id in answers}


class _Attempt:
    """Runs answers of one submission, again and again without those that end the kernel."""

    def __init__(
        self,
        assignment: Assignment,
        references: Mapping[str, Reference],
        files: Mapping[str, Path],
        level: str,
        limits: sandbox.Limits | None,
    ) -> None:
        self.assignment, self.references, self.files = assignment, references, files
        self.level, self.limits = level, limits
        self.broken_cells: set[str] = set()

    def run(self, answers: Mapping[str, str], questions: list[str]) -> dict[str, Verdict]:
        """A verdict for each of ``questions``; all ``answers`` are there when it is probed."""
        running, verdicts = dict(answers), dict[str, Verdict]()
        while waiting := [id for id in questions if id not in verdicts]:
            notebook = self.assignment.notebook(running, {id: self.references[id] for id in waiting})
            result = nbval_run.run(notebook, self.files, level=self.level, limits=self.limits)
            by_cell = {notebook.cells[index].id: entry for number, index in cells.code_index(notebook).items()
                       if (entry := result.entries.get(number))}  # fmt: skip
            self._require_working(notebook.cells[0].id, by_cell)
            self.broken_cells |= {id for id in running if not by_cell.get(_answer(id), {"passed": False})["passed"]}
            culprit = _culprit(by_cell, list(running), waiting, result.failure)
            if not result.entries:
                culprit = self._left_out(running, waiting)
            for id in waiting if result.entries else []:
                if culprit is None or list(running).index(id) < list(running).index(culprit):
                    verdicts[id] = _verdict(self.assignment, id, by_cell.get(_probe(id)), self.references[id])
            if culprit is not None:
                if culprit in waiting:
                    verdicts[culprit] = Verdict("stopped", _stop_reason(by_cell, culprit, result.failure))
                del running[culprit]
        return verdicts

    def run_apart(self, running: Mapping[str, str], verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """Verdicts of those during which the kernel ended, should an earlier answer have ended it in advance.

        Each is run once more, with itself and what has passed; only what passes then is returned.
        """
        ended = [id for id, found in verdicts.items() if found.message == KERNEL_ENDED]
        good = {id for id, found in verdicts.items() if found.passed}
        passed: dict[str, Verdict] = {}
        for id in ended if len(running) > 1 else []:
            again = self.run({other: source for other, source in running.items() if other in good | {id}}, [id])[id]
            passed |= {id: again} if again.passed else {}
        return passed

    def _left_out(self, running: Mapping[str, str], waiting: list[str]) -> str:
        """The question without which there is a report again; nothing else tells who took the comparison down."""
        for id in running:
            others = {other: source for other, source in running.items() if other != id}
            probed = {other: self.references[other] for other in waiting if other != id}
            notebook = self.assignment.notebook(others, probed)
            if nbval_run.run(notebook, self.files, level=self.level, limits=self.limits).entries:
                return id
        return list(running)[-1]

    def _require_working(self, first: str, by_cell: Mapping[str, Mapping[str, Any]]) -> None:
        """If not even the first cell came back, find out whether that is the submission's doing or ours."""
        if first in by_cell and by_cell[first]["kernel"] == "alive":
            return
        alone = nbval_run.run(self.assignment.notebook({}, {}), self.files, level=self.level, limits=self.limits)
        if not alone.entries or any(entry["kernel"] != "alive" for entry in alone.entries.values()):
            raise RuntimeError(f"the grader itself does not work here: {alone.failure or 'the kernel does not start'}")

    def is_suspect(self, id: str, source: str, found: Verdict) -> bool:
        """Whether a failed answer may have harmed the others: its cell broke, it was stopped, or it looks around."""
        return found.status == "stopped" or id in self.broken_cells or bool(shortcut_detection.flags(source))


def _culprit(
    by_cell: Mapping[str, Mapping[str, Any]], running: list[str], waiting: list[str], failure: str
) -> str | None:
    """The first question at which the kernel was lost; None if it lived to the end."""
    for id in running:
        for cell in (_answer(id), *([_probe(id)] if id in waiting else [])):
            entry = by_cell.get(cell)
            if entry is None or entry["kernel"] != "alive":
                return id
    return running[-1] if failure else None


def _stop_reason(by_cell: Mapping[str, Mapping[str, Any]], id: str, failure: str) -> str:
    for cell in (_answer(id), _probe(id)):
        entry = by_cell.get(cell)
        if entry is not None and entry["kernel"] == "late":
            return "it took too long"
        if entry is not None and entry["kernel"] != "alive":
            reason = next((line for line in reversed((entry["report"] or "").splitlines()) if line.strip()), "")
            return (reason.split("LimitExceeded: ")[-1] if "LimitExceeded" in reason else KERNEL_ENDED)[:TEXT_LIMIT]
    return failure or "it did not come to an end"


def _verdict(assignment: Assignment, id: str, entry: Mapping[str, Any] | None, reference: Reference) -> Verdict:
    if entry is None:
        return Verdict("stopped", "it was not reached")
    if entry["error"] in ANSWER_ERRORS:
        return Verdict(ANSWER_ERRORS[entry["error"]])
    if entry["error"]:
        return Verdict("error", f"{entry['error']}: {entry['message'] or ''}"[:TEXT_LIMIT])
    if assignment.questions[id].is_data:
        right = entry["passed"] and probes.judge_apart(assignment, id, entry["output"].strip(), reference)
    else:
        right = entry["passed"]
    return Verdict("passed") if right else Verdict("wrong", "its values differ from those of a right answer")


def _answer(id: str) -> str:
    return f"answer-{id}".replace(".", "-")


def _probe(id: str) -> str:
    return f"probe-{id}".replace(".", "-")
