"""The result of one submission, and the file that keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from course_lib.core.atomic_write import write_atomically
from course_lib.grading.outcome import Status
from course_lib.grading.shortcut_detection import Flag, FlagKind, OnFlag

SCHEMA = 3


@dataclass(frozen=True)
class GradedQuestion:
    """One question of a submission; ``details`` may hold text of the learner."""

    question: str
    points: float
    max_points: float
    status: Status
    details: str = ""
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class GradedSubmission:
    """The result of one submission.

    Args:
        student: name of the student, text of the learner.
        level: the sandbox level.
        key: hash of everything that decides the result.
        assignment: name of the exercise; empty if the submission was refused.
        problem: why it was refused or set aside; empty if it was graded.
        answers: question → source of the answer.
        set_aside: the infrastructure failed, not the submission.
        lesson: the lesson of the exercise, also of a refused submission if it is known.
        others: what else of this student and exercise was found and not graded.
        late_penalty: fraction of the points that is taken off.
        manual: question → points that the instructor set by hand.
        notes: one line for each cell that is no part of the program that was graded.
    """

    student: str
    level: str
    key: str
    assignment: str = ""
    problem: str = ""
    questions: tuple[GradedQuestion, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    set_aside: bool = False
    lesson: str = ""
    others: tuple[str, ...] = ()
    late_penalty: float = 0.0
    manual: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> float:
        """Points that count: set by hand where the instructor did so, less the late penalty."""
        points = sum(self.manual.get(one.question, one.points) for one in self.questions)
        return round(points * (1 - self.late_penalty), 2)

    @property
    def identity(self) -> tuple[str, str]:
        """Student and lesson: there is one result for each."""
        return self.student, self.lesson

    @property
    def points(self) -> float:
        """Points of all questions, before a late penalty."""
        return sum(one.points for one in self.questions)

    @property
    def max_points(self) -> float:
        """Points that all questions could earn."""
        return sum(one.max_points for one in self.questions)

    def with_rule(self, on_flag: OnFlag) -> GradedSubmission:
        """The result with the instructor's rule for flagged answers applied; the flags stay in it."""
        if on_flag is OnFlag.REPORT:
            return self
        return replace(self, questions=tuple(map(_without_shortcut, self.questions)))


def refused(student: str, problem: str, level: str, *, set_aside: bool = False) -> GradedSubmission:
    """The result of a submission that was not graded, with the reason."""
    key = hashlib.sha256(f"{student}\0{problem}".encode("utf-8", "surrogatepass")).hexdigest()
    return GradedSubmission(student, level, key, problem=problem, set_aside=set_aside)


def to_dict(result: GradedSubmission) -> dict[str, Any]:
    """The result as values for JSON, with the number of the schema."""
    return {"schema": SCHEMA, **asdict(result)}


def write(file: Path, result: GradedSubmission) -> None:
    """Store a result; the file appears complete or not at all."""
    write_atomically(file, json.dumps(to_dict(result), indent=1))


def read(file: Path) -> GradedSubmission | None:
    """A stored result; None if there is none, or it is damaged or of another schema."""
    try:
        return from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def from_dict(stored: dict[str, Any]) -> GradedSubmission | None:
    """The inverse of ``to_dict``; None if the schema is another one."""
    if stored.pop("schema") != SCHEMA:
        return None
    lists = {"questions": tuple(map(_question, stored["questions"])), "others": tuple(stored["others"])}
    return GradedSubmission(**stored | lists | {"notes": tuple(stored["notes"])})


def _question(stored: dict[str, Any]) -> GradedQuestion:
    flags = tuple(Flag(FlagKind(flag["kind"]), flag["text"]) for flag in stored["flags"])
    return GradedQuestion(**stored | {"status": Status(stored["status"]), "flags": flags})


def _without_shortcut(one: GradedQuestion) -> GradedQuestion:
    if not any(flag.kind is FlagKind.SOLUTION for flag in one.flags):
        return one
    return replace(one, points=0.0, status=Status.SHORTCUT, details="")
