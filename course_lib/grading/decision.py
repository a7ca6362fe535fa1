"""Decide the questions of a notebook: the one way of `course check` and `course grade`.

``run`` executes a program and compares its probes; where and with what protection is the caller's business.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from nbformat import NotebookNode

from course_lib.grading import cells, fork_server, helper_cells, nbval_run, probes, reruns, submission
from course_lib.grading.assignment import Exercise, Reference
from course_lib.grading.nbval_report import CellReport, KernelState
from course_lib.grading.outcome import KERNEL_ENDED, NOT_REACHED, TOO_LONG, Status, Stop, StopReason, Verdict

DETAILS_LIMIT = 500
MISSING_NAME = re.compile(r"name '(\w+)' is not defined")
ADVICE = "Define it in the answer or in a cell of its own"
Run = Callable[[NotebookNode], nbval_run.Run]


@dataclass(frozen=True)
class Decision:
    """A verdict for each question of the exercise, and one line for each cell that is no part of the program."""

    verdicts: Mapping[str, Verdict]
    notes: tuple[str, ...]


def decide(exercise: Exercise, taken: submission.Extracted, references: Mapping[str, Reference], run: Run) -> Decision:
    """Judge all questions of an exercise.

    Args:
        taken: the program in the learner's notebook.
        references: question id → what a right answer prints.
        run: executes a program in a fresh kernel.

    Raises:
        RuntimeError: if programs cannot be run here, whatever the notebook.
    """
    runner = _Runner(exercise, taken, references, run)
    decided = reruns.decide(runner.attempt, runner.units(), attempted(exercise, taken))
    verdicts = {id: decided.get(id, Verdict(Status.NOT_ATTEMPTED)) for id in taken.answers}
    verdicts |= {id: Verdict(Status.NOT_ACCEPTED, reason) for id, reason in taken.findings.items()}
    explained = {id: runner.explained(id, verdicts) for id in exercise.questions if id in verdicts}
    return Decision(explained, (*taken.notes, *runner.problems.values()))


def attempted(exercise: Exercise, taken: submission.Extracted) -> list[str]:
    """The questions that are judged: an answer is more than its stub, or a helper cell defines its function."""
    return [id for id in _touched(exercise, taken) if id not in taken.findings]


def _touched(exercise: Exercise, taken: submission.Extracted) -> list[str]:
    added = {name for helper in taken.helpers for name in helper_cells.bound_names(helper.source)}
    return [id for id, asked in exercise.questions.items() if id in taken.answers
            and (asked.name in added or not submission.is_untouched(taken.answers[id], asked.stub))]  # fmt: skip


class _Runner:
    """Runs some answers and helper cells of one notebook and reads the verdicts from the reports."""

    def __init__(
        self, exercise: Exercise, taken: submission.Extracted, references: Mapping[str, Reference], run: Run
    ) -> None:
        self.exercise, self.taken, self.references, self.run = exercise, taken, references, run
        self.helpers = {helper.id: helper for helper in taken.helpers}
        self.problems: dict[str, str] = {}

    def units(self) -> dict[str, str]:
        """Question or helper cell → source, in the order of the program, without untouched answers."""
        touched = _touched(self.exercise, self.taken)
        sources = {cells.cell_id("answer", id): (id, self.taken.answers[id]) for id in touched}
        sources |= {id: (id, helper.source) for id, helper in self.helpers.items()}
        program = self.exercise.program(self.taken.answers, {}, self.taken.helpers)
        return dict(sources[cell.id] for cell in program.cells if cell.id in sources)

    def attempt(self, units: Mapping[str, str], probed: Sequence[str]) -> reruns.Attempt:
        """Run ``units`` in one kernel, compare the probes of ``probed``, and decide these questions."""
        run = self.run(self._program(units, probed))
        if not run.cells:
            return reruns.Attempt({}, None, run.failure)
        lost_at = self._lost_at(run, list(units), probed)
        reached = list(itertools.takewhile(lambda id: id != lost_at, units))
        verdicts = {id: self._decide(id, run) for id in reached if id in probed}
        if lost_at is not None and lost_at in probed:
            verdicts[lost_at] = Verdict.stopped(_stop(run, self._cells_of(lost_at, probed)))
        for id in self.helpers.keys() & units.keys():
            self._note_problem(id, run, lost_at)
        return reruns.Attempt(verdicts, lost_at)

    def explained(self, id: str, verdicts: Mapping[str, Verdict]) -> Verdict:
        """The verdict with what the learner has to do: a missing name is named, and so is an answer that is needed."""
        verdict = verdicts[id]
        advice = self._needs(id, verdicts) or self._missing_name(verdict)
        if verdict.status not in (Status.ERROR, Status.WRONG, Status.NOT_ATTEMPTED) or not advice:
            return verdict
        details = f"{advice}. {verdict.details}".strip()[:DETAILS_LIMIT]
        status = Status.ERROR if verdict.status is Status.NOT_ATTEMPTED else verdict.status
        return replace(verdict, status=status, details=details)

    def _missing_name(self, verdict: Verdict) -> str:
        missing = MISSING_NAME.search(verdict.details)
        if not missing:
            return ""
        where = self.taken.elsewhere.get(missing[1])
        defined = f": it is defined in {where}" if where else ""
        return f"`{missing[1]}` is not defined when this answer runs{defined}. {ADVICE}"

    def _needs(self, id: str, verdicts: Mapping[str, Verdict]) -> str:
        """Which answers of hers an answer needs that are not right; an untouched stub needs nothing."""
        questions = self.exercise.questions
        sources = {other: self.taken.answers.get(other, questions[other].stub) for other in questions}
        sources |= {other: helper.source for other, helper in self.helpers.items()}
        lacking = [questions[other] for other in sorted(helper_cells.needed(id, sources) & questions.keys())
                   if other not in verdicts or not verdicts[other].passed]  # fmt: skip
        names = " and ".join(f"`{asked.name}` ({asked.id})" for asked in lacking)
        return f"It needs your {names}, which is not right yet" if names else ""

    def _program(self, units: Mapping[str, str], probed: Sequence[str]) -> NotebookNode:
        answers = {id: source for id, source in units.items() if id in self.exercise.questions}
        helpers = [helper for id, helper in self.helpers.items() if id in units]
        return self.exercise.notebook(answers, {id: self.references[id] for id in probed}, helpers)

    def _cells_of(self, id: str, probed: Sequence[str]) -> list[str]:
        if id in self.helpers:
            return [id]
        return [cells.cell_id("answer", id), *([cells.cell_id("probe", id)] if id in probed else [])]

    def _lost_at(self, run: nbval_run.Run, units: Sequence[str], probed: Sequence[str]) -> str | None:
        """The first unit at which the kernel was lost; None if it was alive at the end."""
        for id in units:
            if not all(is_alive(run.cells.get(cell)) for cell in self._cells_of(id, probed)):
                return id
        return units[-1] if run.failure else None

    def _note_problem(self, id: str, run: nbval_run.Run, lost_at: str | None) -> None:
        number, report = self.helpers[id].number, run.cells.get(id)
        if lost_at == id:
            self.problems[id] = f"cell {number} is left out: {_stop(run, [id]).text}"
        elif report is not None and report.error:
            self.problems[id] = f"cell {number} failed: {said(report)}"

    def _decide(self, id: str, run: nbval_run.Run) -> Verdict:
        answer, probe = run.cells.get(cells.cell_id("answer", id)), run.cells.get(cells.cell_id("probe", id))
        if probe is None:
            return Verdict.stopped(NOT_REACHED)
        if not probe.error:
            return Verdict(Status.PASSED if self._is_right(id, probe) else Status.WRONG)
        if answer is not None and answer.error:
            return Verdict(Status.ERROR, said(answer)[:DETAILS_LIMIT])
        if probe.is_unanswered:
            return Verdict(Status.NOT_ATTEMPTED)
        return Verdict(Status.ERROR, said(probe)[:DETAILS_LIMIT])

    def _is_right(self, id: str, probe: CellReport) -> bool:
        """nbval has compared the printed line; a value of an answer without arguments is judged in a process apart."""
        asked, reference = self.exercise.questions[id], self.references[id]
        if not asked.is_data or not probe.passed:
            return probe.passed
        return fork_server.judge(
            {"module": self.exercise.module, "probe": asked.probe, "printed": probe.output.strip(),
             "seed": reference.seed, "line": reference.line, "floors": reference.floors},
            reference.value, {**os.environ, **probes.ENVIRONMENT},
        )  # fmt: skip


def is_alive(cell: CellReport | None) -> bool:
    """Whether a cell came to its end in a kernel that lives on."""
    return cell is not None and cell.kernel is KernelState.ALIVE


def said(report: CellReport) -> str:
    """The error of a cell in one line; that of the course's own checks without its name."""
    if report.error == "CheckFailed" and report.message:
        return report.message
    return f"{report.error}: {report.message or ''}"


def _stop(run: nbval_run.Run, ids: Sequence[str]) -> Stop:
    """Why the kernel was lost at these cells."""
    for cell in filter(None, map(run.cells.get, ids)):
        if cell.kernel is KernelState.TIMED_OUT:
            return TOO_LONG
        if cell.kernel is KernelState.DEAD:
            return cell.stop or KERNEL_ENDED
    return run.failure or Stop(StopReason.COMPARISON_FAILED, "it did not come to an end")
