"""Take the program from a learner's notebook: the sources of its answer cells and helper cells, and nothing else.

Outputs, metadata, tags, kernelspec and all other cells are dropped. The questions come from the course: an answer that
cannot be taken is a finding and costs only its question; a file that is no notebook is refused with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from course_lib.grading import cells, helper_cells
from course_lib.grading.assignment import Exercise, definitions, published_lessons
from course_lib.grading.helper_cells import Helper

NOTEBOOK_BYTES = 50_000_000
SOURCE_CHARACTERS = 20_000
MAX_CELLS = 2_000
RULE = "an added cell may hold only imports, functions, classes and constants"
CHECK_CALL = re.compile(r"""^\s*check\(\s*["'](\d\d\.\d{1,2})["']""", re.MULTILINE)


class Refused(ValueError):
    """A file or answer cell that is not accepted; the text says why."""


@dataclass(frozen=True)
class Extracted:
    """What is taken from a notebook.

    Args:
        answers: question → source.
        findings: question → why it gets no points whatever its answer.
        helpers: the added cells that belong to the program, in order.
        notes: one line for each cell that is left out or restored.
        elsewhere: name → the cell that defines it but is no part of the program.
    """

    answers: dict[str, str] = field(default_factory=dict)
    findings: dict[str, str] = field(default_factory=dict)
    helpers: tuple[Helper, ...] = ()
    notes: tuple[str, ...] = ()
    elsewhere: dict[str, str] = field(default_factory=dict)


def parse(content: bytes, limit: int = NOTEBOOK_BYTES) -> list[Any]:
    """The cells of a notebook as they are in the file, unchecked; at most ``limit`` bytes are accepted.

    Raises:
        Refused: if it is too large, not JSON in UTF-8, not of format 4, or has too many cells.
    """
    if len(content) > limit:
        raise Refused(f"the notebook has {len(content):,} bytes; {limit:,} are allowed")
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused("the file is not text in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"the file is not a notebook: its JSON cannot be read ({type(error).__name__})") from error
    if not isinstance(notebook, dict) or type(notebook.get("nbformat")) is not int:
        raise Refused("the file is not a notebook: it has no format number")
    if notebook["nbformat"] != 4:
        raise Refused(f"the notebook has format {notebook['nbformat']}; save it as format 4")
    if not isinstance(notebook.get("cells"), list):
        raise Refused("the notebook has no list of cells")
    if len(notebook["cells"]) > MAX_CELLS:
        raise Refused(f"the notebook has {len(notebook['cells']):,} cells; {MAX_CELLS:,} are allowed")
    return notebook["cells"]


def lesson(content: list[Any]) -> str | None:
    """The lesson to which most cells of a notebook belong, for example ``"03"``; None if no cell tells.

    nbgrader's metadata tells, else the cell id, else the functions that the cells define.
    """
    entries = [entry for entry in content if isinstance(entry, dict)]
    found = [
        question[1][:2] for entry in entries if (question := cells.question_of(_grade_id(entry) or entry.get("id")))
    ]
    return max(set(found), key=found.count) if found else _lesson_by_names(entries)


def _lesson_by_names(entries: list[dict[str, Any]]) -> str | None:
    defined = {name for entry in entries for name in helper_cells.bound_names(_text(entry) or "")}
    votes = {
        lesson: len(defined & {question.name for question in Exercise.of_lesson(lesson).questions.values()})
        for lesson in (published_lessons() if defined else ())
    }
    best = max(votes, key=lambda lesson: votes[lesson], default=None)
    return best if best and votes[best] else None


def extract(content: list[Any], exercise: Exercise) -> Extracted:
    """The program in a notebook, for the questions of the course's exercise."""
    return _Extraction(content, exercise).result()


def is_untouched(source: str, stub: str) -> bool:
    """Whether an answer equals the stub, except for white space at line ends."""
    return _lines(source) == _lines(stub)


class _Extraction:
    """Assigns each cell of a learner's notebook to a cell of the exercise, or recognises it as added."""

    def __init__(self, content: list[Any], exercise: Exercise) -> None:
        self.exercise = exercise
        self.places = {cell["id"]: index for index, cell in enumerate(exercise.code)}
        self.pristine = {cell.source.strip(): index for index, cell in enumerate(exercise.code)}
        self.claims: dict[str, list[dict[str, Any]]] = {question: [] for question in exercise.questions}
        self.checks: set[str] = set()
        self.added: list[tuple[int, int, str]] = []
        self.notes: list[str] = []
        self.elsewhere: dict[str, str] = {}
        after = -1
        for number, entry in enumerate(content, start=1):
            if not isinstance(entry, dict):
                continue
            place = self._place(entry)
            if place is not None:
                after = place
                self._take_own(number, entry, place)
            elif entry.get("cell_type") == "code" and (source := _text(entry)) and source.strip():
                self.added.append((number, after, source))

    def result(self) -> Extracted:
        """All that was found; an answer that lost metadata and cell id is known by the function that it defines."""
        answers, findings = dict[str, str](), dict[str, str]()
        for question, entries in self.claims.items():
            try:
                answers[question] = _source(entries or self._by_name(question))
            except Refused as problem:
                findings[question] = str(problem)
            if question not in self.checks and question not in findings:
                findings[question] = "Its check cell is missing; copy it back from the exercise."
        known = {source.strip() for source in (*answers.values(), *self._stubs())}
        helpers = tuple(helper for one in self.added if one[2].strip() not in known if (helper := self._helper(*one)))
        for name in [name for helper in helpers for name in helper_cells.bound_names(helper.source)]:
            self.elsewhere.setdefault(name, "a cell further down")
        return Extracted(answers, findings, helpers, tuple(self.notes), self.elsewhere)

    def _place(self, entry: dict[str, Any]) -> int | None:
        """The place of the exercise's own cell that this is, among its code cells; None for another cell."""
        for id in (_grade_id(entry), entry.get("id")):
            if isinstance(id, str) and id in self.places:
                return self.places[id]
        source = _text(entry) if entry.get("cell_type") == "code" else None
        if source is None:
            return None
        if source.strip() in self.pristine:
            return self.pristine[source.strip()]
        called = CHECK_CALL.search(source)
        return self.places.get(cells.cell_id("check", called[1])) if called else None

    def _take_own(self, number: int, entry: dict[str, Any], place: int) -> None:
        own = self.exercise.code[place]
        kind, question = cells.question_of(cells.grade_id(own)) or ("", "")
        if kind == "answer":
            if _text(entry) is None or str(_text(entry)).strip():
                self.claims[question].append(entry)
            return
        if kind == "check":
            self.checks.add(question)
        source = _text(entry) or ""
        changed = _lines(source) != _lines(own.source) if kind else _defines(source) != _defines(own.source)
        if changed and source.strip():
            self.notes.append(f"cell {number} belongs to the exercise and was changed; it is run as it was handed out")
            where = f"cell {number}, which belongs to the exercise and is run as it was handed out"
            for name in helper_cells.bound_names(source) - helper_cells.bound_names(own.source):
                self.elsewhere.setdefault(name, where)

    def _by_name(self, question: str) -> list[dict[str, Any]]:
        """The added cells that define the function of a question; they are no longer added cells then."""
        name = self.exercise.questions[question].name
        found = [one for one in self.added if name in helper_cells.bound_names(one[2])]
        self.added = [one for one in self.added if one not in found]
        return [{"cell_type": "code", "source": source} for _, _, source in found]

    def _stubs(self) -> Iterator[str]:
        return (question.stub for question in self.exercise.questions.values())

    def _helper(self, number: int, after: int, source: str) -> Helper | None:
        try:
            _require_text(source)
            reason = helper_cells.refusal(source)
        except Refused as problem:
            reason = str(problem).rstrip(".")
        if reason is None:
            return Helper(number, after, helper_cells.runnable(source))
        self.notes.append(f"cell {number} is left out: {reason}; {RULE}")
        for name in helper_cells.bound_names(source):
            self.elsewhere.setdefault(name, f"cell {number}, which is left out")
        return None


def _grade_id(entry: Mapping[str, Any]) -> str | None:
    """The id in nbgrader's metadata of a cell as it is in the file; None if there is none."""
    metadata = entry.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    return id if isinstance(id, str) else None


def _text(entry: Mapping[str, Any]) -> str | None:
    """The source of a cell as one string; None if it has none."""
    source = entry.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _defines(source: str) -> str:
    """The definitions of a cell in one spelling, or its lines if it is not Python."""
    try:
        return definitions(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "\n".join(_lines(source))


def _source(entries: list[dict[str, Any]]) -> str:
    """The source of the one answer among these cells; cells with the same source count as one."""
    if not entries:
        raise Refused("Its answer cell is missing; copy it back from the exercise.")
    if any(entry.get("cell_type") != "code" for entry in entries):
        raise Refused("Its answer cell is not a code cell.")
    sources = list(dict.fromkeys(map(_text, entries)))
    if len(sources) > 1:
        raise Refused(f"{len(sources)} different cells claim to be its answer; keep one of them.")
    if sources[0] is None:
        raise Refused("Its answer cell has no source text.")
    _require_text(sources[0])
    return sources[0]


def _require_text(source: str) -> None:
    if len(source) > SOURCE_CHARACTERS:
        raise Refused(f"The cell has {len(source):,} characters; {SOURCE_CHARACTERS:,} are allowed.")
    if "\0" in source or any("\ud800" <= character <= "\udfff" for character in source):
        raise Refused("The cell has characters that cannot be in a program.")
