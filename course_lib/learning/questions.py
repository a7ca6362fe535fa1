"""The exercise questions: how one is declared, found and checked.

The checks of lesson NN are in ``course_lib/learning/exercises/lesson_NN/questions.py``, which is imported when one of
its questions is first needed. Importing this module imports neither torch nor a widget.
"""

from __future__ import annotations

import html
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import yaml

from course_lib.core.palette import LIGHT
from course_lib.learning import diagnosis, progress
from course_lib.learning.answer import Answer
from course_lib.learning.expect import CheckFailed, NotAttempted
from course_lib.learning.style import soften
from course_lib.learning.values import loaded

Check = Callable[[Any], None]
Probe = Callable[[Any, Any], Any]

EXERCISES = "course_lib.learning.exercises"
FOLDER = Path(__file__).parent / "exercises"
HINTS = 3
_ID = re.compile(r"(\d\d)\.(\d{1,2})")
_questions: dict[str, Question] = {}
_probes: dict[str, Probe] = {}


@dataclass(frozen=True)
class Question:
    """One question of an exercise.

    Args:
        id: lesson and number, for example ``"03.1"``.
        minutes: estimated time.
        difficulty: 1 (warm-up) to 5 (hard).
        hints: three, each more specific; none gives the answer.
        check: runs the learner's function and raises ``CheckFailed`` if it is wrong.
    """

    id: str
    title: str
    points: int
    minutes: int
    difficulty: int
    hints: tuple[str, ...]
    check: Check

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"id must look like '03.1' (lesson, question), got {self.id!r}")
        if not self.title.strip():
            raise ValueError(f"title of question {self.id} must not be empty")
        for name in ("points", "minutes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} of question {self.id} must be greater than 0, got {getattr(self, name)}")
        if self.difficulty not in range(1, 6):
            raise ValueError(f"difficulty of question {self.id} must be 1 to 5, got {self.difficulty}")
        if len(self.hints) != HINTS or not all(hint.strip() for hint in self.hints):
            raise ValueError(f"question {self.id} needs exactly {HINTS} hints, got {len(self.hints)}")

    @property
    def lesson(self) -> str:
        """Two digits, for example ``"03"``."""
        return self.id[:2]

    @property
    def excluded(self) -> tuple[str, ...]:
        """Dotted names of the library functions that an answer must not use."""
        return getattr(sys.modules[self.check.__module__], EXCLUDED, ())

    @property
    def probe(self) -> Probe | None:
        """The function ``(answer, generator) -> values`` whose values the grader prints, if one is declared."""
        return _probes.get(self.id)


EXCLUDED = "EXCLUDED"
"""Name of the constant beside a lesson's questions: the library functions that its answers must not use."""


@dataclass(frozen=True)
class Passed:
    """A right answer; a notebook shows it as one line."""

    question: str
    title: str
    points: int

    def __repr__(self) -> str:
        return f"{self.question} {self.title}: right, {self._points()}"

    def _repr_html_(self) -> str:
        lines = Path(__file__).with_name("passed.html").read_text(encoding="utf-8").splitlines()
        title = f"{self.question} {html.escape(self.title)}"
        return Template("".join(lines)).substitute(green=LIGHT["holds"], title=title, points=self._points())

    def _points(self) -> str:
        return f"{self.points} of {self.points} point{'s' * (self.points != 1)}"


def question(
    id: str, *, points: int | None = None, minutes: int | None = None, difficulty: int | None = None,
    title: str | None = None, hints: tuple[str, str, str] | None = None,
) -> Callable[[Check], Check]:  # fmt: skip
    """Declare the decorated function as the check of a question; what is not given is in ``questions.yaml``.

    Raises:
        ValueError: if a field is out of range, or another check already has this id.
    """
    given = {"points": points, "minutes": minutes, "difficulty": difficulty, "title": title, "hints": hints}

    def register(check: Check) -> Check:
        fields = described(id[:2]).get(id, {}) | {name: value for name, value in given.items() if value is not None}
        entry = Question(id, check=check, **fields)
        known = _questions.get(id)
        if known and (known.check.__module__, known.check.__qualname__) != (check.__module__, check.__qualname__):
            raise ValueError(f"question {id} is declared twice: {known.check.__qualname__} and {check.__qualname__}")
        _questions[id] = entry
        return check

    return register


@cache
def described(lesson: str) -> dict[str, dict[str, Any]]:
    """Question id → the fields in the lesson's ``questions.yaml``; empty if there is no such file."""
    file = FOLDER / f"lesson_{lesson}" / "questions.yaml"
    if not file.is_file():
        return {}
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {id: {**fields, "hints": tuple(fields["hints"])} for id, fields in found.items()}


def probe(id: str) -> Callable[[Probe], Probe]:
    """Declare the decorated function as the probe of a question: ``(answer, generator)`` → values, or a generator."""

    def register(function: Probe) -> Probe:
        known = _probes.get(id)
        if known and (known.__module__, known.__qualname__) != (function.__module__, function.__qualname__):
            raise ValueError(f"the probe of {id} is declared twice: {known.__qualname__} and {function.__qualname__}")
        _probes[id] = function
        return function

    return register


def find(id: str) -> Question:
    """The question with this id.

    Raises:
        ValueError: if there is none, with the ids that there are.
    """
    match = _ID.fullmatch(id) if isinstance(id, str) else None
    if match is None:
        raise ValueError(f"id must look like '03.1' (lesson, question), got {id!r}")
    if id not in _questions:
        known = ", ".join(one.id for one in in_lesson(match[1]))
        if id not in _questions:
            raise ValueError(f"there is no question {id!r}; lesson {match[1]} has {known or 'none'}")
    return _questions[id]


def in_lesson(lesson: str) -> list[Question]:
    """All questions of a lesson (``"03"``), in order.

    Raises:
        ValueError: if the lesson has no exercise.
    """
    if not (FOLDER / f"lesson_{lesson}" / "questions.py").is_file():
        there = ", ".join(lessons_with_exercises())
        raise ValueError(f"lesson {lesson!r} has no exercise; there are exercises for {there or 'none yet'}")
    importlib.import_module(f"{EXERCISES}.lesson_{lesson}.questions")
    found = [one for one in _questions.values() if one.lesson == lesson]
    return sorted(found, key=lambda one: int(one.id[3:]))


def lessons_with_exercises() -> list[str]:
    """Two digits for each lesson with an exercise notebook, and so with reference answers."""
    return sorted(file.parent.name[-2:] for file in FOLDER.glob("lesson_[0-9][0-9]/reference.py"))


def check(id: str, answer: Any) -> Passed:
    """Check the learner's function for a question, record the outcome, and report it in one line.

    Raises:
        CheckFailed: if the answer is wrong; its message is one line.
        NotAttempted: if the function still raises ``NotImplementedError``.
    """
    entry = find(id)
    try:
        _advised(entry, answer)
    except NotAttempted:
        soften("baseline")
        raise NotAttempted(id) from None
    except CheckFailed as failure:
        failure.question = id
        progress.record_try(id, entry.points)
        soften("threshold")
        raise
    progress.record_points(id, entry.points)
    return Passed(id, entry.title, entry.points)


def _advised(entry: Question, answer: Any) -> None:
    """Run a check; the hint of a failure is that of the known mistake which fails in the same way, if there is one."""
    wrapped = Answer(answer, entry.excluded)
    try:
        _run(entry, wrapped)
    except CheckFailed as failure:
        found = diagnosis.Failure(wrapped.calls, failure.problem)
        failure.hint = diagnosis.advice(entry.id, found, _failure) or failure.hint
        raise


def _failure(id: str, function: Any) -> diagnosis.Failure | None:
    """How the check of a question fails for ``function``; None if it does not fail with a ``CheckFailed``."""
    wrapped = Answer(function)
    try:
        _run(find(id), wrapped)
    except CheckFailed as failure:
        return diagnosis.Failure(wrapped.calls, failure.problem)
    except Exception:
        return None
    return None


def _run(entry: Question, wrapped: Answer) -> None:
    try:
        with _reproducible():
            entry.check(wrapped)
    except CheckFailed as failure:
        failure.given = failure.given or wrapped.given
        raise
    except NotAttempted:
        raise
    except Exception as error:
        if wrapped.returned is None:
            raise
        # the check failed on the returned value itself: usually None, because there is no return
        problem = f"your function returned {wrapped.returned}, which is not what it should return"
        hint = "is there a return statement?" if wrapped.returned == "None" else f"the check raised {error!r}"
        raise CheckFailed(problem, wrapped.given, hint) from error


@contextmanager
def _reproducible() -> Iterator[None]:
    """The same random numbers for dropout in every check; torch's global generator is unchanged afterwards."""
    torch = loaded("torch")
    if torch is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
