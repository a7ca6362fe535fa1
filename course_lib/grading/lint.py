"""Rules that every exercise must satisfy before it is handed out; each broken rule is one line of text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbformat import NotebookNode

from course_lib.grading import cells, tree_shaking

TOTAL_POINTS = 20
QUESTIONS = range(4, 8)
HINTS = 3
WRONG_ANSWERS = 5
RIGHT_ANSWERS = 2
STUB = "raise NotImplementedError()"
MARKERS = re.compile(r"(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)")
LONG_LINE = 40
TODO = "TODO"
PLAYGROUND = re.compile(r"lesson_\d\d\.playground")


class LintError(ValueError):
    """A solution notebook that must not become an exercise; ``problems`` holds one line for each broken rule."""

    def __init__(self, name: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(f"{name} breaks {len(problems)} rule(s):\n" + "\n".join(f"  - {line}" for line in problems))


def lint(
    solution: NotebookNode,
    exercise: NotebookNode,
    registry: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
) -> list[str]:
    """Broken rules of one exercise; an empty list if there are none.

    Args:
        solution: the notebook with the answers.
        exercise: what ``course_lib.grading.building`` generates from it.
        registry: question id → its check, probe, points and hints; the rules about them are skipped if None.
        answers: question id → ``Answers`` with ``wrong`` and ``right``; skipped if None.
    """
    found = cells.questions(solution)
    problems = [*_cells(solution, found), *_answer_cells(solution, exercise, found), *_leaks(solution, exercise)]
    problems += [*_imports(solution), *_unfinished(solution)]
    for question, place in found.items():
        if registry is not None:
            problems += _registered(question, place, registry, solution.cells[place.answer].source)
        if answers is not None:
            problems += _tried(question, answers)
    return problems


def solution_regions(cell: NotebookNode) -> list[list[str]]:
    """The lines that nbgrader removes from a cell, one list for each region."""
    regions: list[list[str]] = []
    inside = False
    for line in cell.source.splitlines():
        if "BEGIN SOLUTION" in line or "BEGIN HIDDEN TESTS" in line:
            regions.append([])
            inside = True
        elif "END SOLUTION" in line or "END HIDDEN TESTS" in line:
            inside = False
        elif inside:
            regions[-1].append(line)
    return regions


def _cells(solution: NotebookNode, found: Mapping[str, cells.QuestionCells]) -> Iterator[str]:
    named = [question for _, _, question in cells.graded(solution)]
    for question in dict.fromkeys(named):
        if question not in found:
            yield f"question {question} needs exactly one answer cell and one check cell"
    if len(found) not in QUESTIONS:
        yield f"an exercise has {QUESTIONS[0]} to {QUESTIONS[-1]} questions, this one has {len(found)}"
    if len({question[:2] for question in found}) > 1:
        yield f"all questions must belong to one lesson, got {', '.join(found)}"
    total = sum(place.points for place in found.values())
    if total != TOTAL_POINTS:
        yield f"the points of an exercise add up to {TOTAL_POINTS}, these to {total:g}"
    for question, place in found.items():
        answer = solution.cells[place.answer].metadata.nbgrader
        check = solution.cells[place.check].metadata.nbgrader
        if place.points <= 0:
            yield f"question {question} has no points"
        if place.check < place.answer:
            yield f"question {question} has its check before its answer"
        if not answer.get("solution") or answer.get("grade") or answer.get("locked"):
            yield f"the answer cell of {question} must be a solution cell, neither graded nor locked"
        if not check.get("grade") or not check.get("locked") or check.get("solution"):
            yield f"the check cell of {question} must be graded and locked"


def _answer_cells(
    solution: NotebookNode, exercise: NotebookNode, found: Mapping[str, cells.QuestionCells]
) -> Iterator[str]:
    for question, place in found.items():
        stub, check = exercise.cells[place.answer].source, exercise.cells[place.check].source
        if STUB not in stub:
            yield f"the answer cell of {question} has no stub ({STUB})"
        if not solution_regions(solution.cells[place.answer]):
            yield f"the answer cell of {question} has no BEGIN SOLUTION region"
        names = defined(stub)
        if len(names) < 1:
            yield f"the stub of {question} must be valid code that defines a function or class"
        elif not re.fullmatch(rf'check\("{re.escape(question)}", ({"|".join(names)})\)', _last_line(check)):
            yield f'the check cell of {question} must end with check("{question}", {names[-1]})'


def _leaks(solution: NotebookNode, exercise: NotebookNode) -> Iterator[str]:
    """Solution lines are leaked if two consecutive ones, or a long one, occur in the exercise."""
    lines = [line.strip() for cell in exercise.cells for line in cell.source.splitlines()]
    singles, pairs = set(lines), set(zip(lines, lines[1:], strict=False))
    for index, cell in enumerate(solution.cells):
        for region in solution_regions(cell):
            secret = [line.strip() for line in region if line.strip()]
            leaked = [line for line in secret if len(line) >= LONG_LINE and line in singles]
            leaked += [line for line, after in zip(secret, secret[1:], strict=False) if (line, after) in pairs]
            if leaked:
                yield f"cell {index}: the solution's line {leaked[0]!r} occurs in the exercise"
    for index, cell in enumerate(exercise.cells):
        if marker := MARKERS.search(cell.source):
            yield f"cell {index}: the marker {marker[0]!r} is left in the exercise"
        if cell.get("outputs"):
            yield f"cell {index}: the exercise has outputs"


def _imports(solution: NotebookNode) -> Iterator[str]:
    """Learners see these imports; every other exercise module may contain answers."""
    for module in tree_shaking.imported(solution):
        if not PLAYGROUND.fullmatch(module):
            yield f"a notebook imports from the playground of a lesson only, not from {tree_shaking.PACKAGE}.{module}"


def _unfinished(solution: NotebookNode) -> Iterator[str]:
    for index, cell in enumerate(solution.cells):
        if TODO in cell.source:
            yield f"cell {index}: a {TODO} is left in the solution notebook"


def _registered(question: str, place: cells.QuestionCells, registry: Mapping[str, Any], source: str) -> Iterator[str]:
    entry = registry.get(question)
    if entry is None:
        yield f"question {question} has no check in course_lib.learning.exercises"
        return
    if entry.probe is None:
        yield f"question {question} has no probe"
    if entry.points != place.points:
        yield f"question {question} has {entry.points:g} points in its check and {place.points:g} in the notebook"
    if len(entry.hints) != HINTS or not all(hint.strip() for hint in entry.hints):
        yield f"question {question} needs exactly {HINTS} hints, it has {len(entry.hints)}"
    if any(TODO in hint for hint in entry.hints):
        yield f"a hint of {question} is still a {TODO}"
    secret = [line.strip() for line in source.splitlines() if len(line.strip()) >= LONG_LINE // 2]
    for hint in entry.hints:
        if any(line in hint for line in secret):
            yield f"a hint of {question} gives a line of the solution away"


def _tried(question: str, answers: Mapping[str, Any]) -> Iterator[str]:
    entry = answers.get(question)
    if entry is None:
        yield f"question {question} has no wrong and right answers to test its check with"
        return
    if len(entry.wrong) < WRONG_ANSWERS:
        yield f"question {question} needs {WRONG_ANSWERS} wrong answers, it has {len(entry.wrong)}"
    if any(TODO in label for label in (*entry.wrong, *entry.right)):
        yield f"an answer that {question} is tested with is still a {TODO}"
    if len(entry.right) < RIGHT_ANSWERS:
        yield f"question {question} needs {RIGHT_ANSWERS} other right answers, it has {len(entry.right)}"


def defined(source: str) -> list[str]:
    """Functions and classes that a cell defines at its top level; none if it does not parse."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _last_line(source: str) -> str:
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return lines[-1] if lines else ""
