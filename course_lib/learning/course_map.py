"""The lessons of the course, and a learner's progress through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

from course_lib.core.validation import check_choice
from course_lib.learning import progress
from course_lib.learning.style import line, page


@dataclass(frozen=True)
class Lesson:
    """One lesson: its notebook ``file``, ``minutes`` to read and run it, and its ``idea`` in half a sentence.

    ``exercise_minutes`` and ``points`` are 0 for a lesson without an exercise.
    """

    number: str
    title: str
    file: str
    minutes: int
    idea: str
    exercise_minutes: int = 0
    points: int = 0

    @property
    def exercise(self) -> str | None:
        """The exercise notebook in ``exercises/``, if there is one."""
        return self.file if self.points else None


_LISTED = yaml.safe_load(Path(__file__).with_name("lessons.yaml").read_text(encoding="utf-8"))
LESSONS = tuple(Lesson(number, **fields) for number, fields in _LISTED.items())
COURSE_QUIZ = "model-compression-techniques"
HEADER = (("Lesson", ""), ("Minutes", "figure"), ("Status", ""), ("Exercise", "figure"), ("Quiz", "figure"))
STATUS_COLOURS = {
    progress.NOT_STARTED: "baseline-text", progress.IN_PROGRESS: "before-text", progress.DONE: "holds-text"
}  # fmt: skip


def lesson(number: str) -> Lesson:
    """The lesson of this number (``"03"``).

    Raises:
        ValueError: if there is none.
    """
    check_choice("number", number, [one.number for one in LESSONS])
    return next(one for one in LESSONS if one.number == number)


def lesson_opened(number: str) -> None:
    """Record that a lesson was opened; ``course_map`` links to it."""
    entry = lesson(number)
    progress.record_lesson(number, progress.IN_PROGRESS, entry.file)


def lesson_done(number: str) -> Finished:
    """Record that a lesson is finished, and say where to continue."""
    entry = lesson(number)
    progress.record_lesson(number, progress.DONE, entry.file)
    return Finished(entry)


@dataclass(frozen=True)
class Finished:
    """The last output of a lesson, with links to what follows."""

    lesson: Lesson

    def __repr__(self) -> str:
        return f"Lesson {self.lesson.number} is done. {self._text()}"

    def _repr_html_(self) -> str:
        links = [f'<a href="{target}">{escape(text)}</a>' for text, target in self._onward()]
        onward = f'<p class="learn-faint">Go on with {" or ".join(links)}.</p>' if links else ""
        return page(line("right", f"Lesson {self.lesson.number} is done.", "") + onward)

    def _onward(self) -> list[tuple[str, str]]:
        links = []
        if self.lesson.exercise:
            links.append((f"exercise {self.lesson.number}", f"../exercises/{self.lesson.exercise}"))
        following = [one for one in LESSONS if one.number > self.lesson.number]
        if following:
            links.append((f"lesson {following[0].number}, {following[0].title}", following[0].file))
        return links

    def _text(self) -> str:
        names = [text for text, _ in self._onward()]
        return f"Go on with {' or '.join(names)}." if names else "It was the last one."


def course_map() -> CourseMap:
    """The table of all lessons with their status, and a link to the last one opened."""
    return CourseMap(progress.read())


@dataclass(frozen=True)
class CourseMap:
    """Lessons with minutes, status, points and quiz scores; ``record`` is from ``progress.read``."""

    record: Mapping[str, Any]

    def status(self, number: str) -> str:
        """``Not started``, ``In progress`` or ``Done``; points or quiz answers count as ``In progress``."""
        stored = self.record["lessons"].get(number, {}).get("status")
        if stored in (progress.IN_PROGRESS, progress.DONE):
            return stored
        begun = (
            any(key.startswith(f"{number}.") for key in self.record["questions"]) or number in self.record["quizzes"]
        )
        return progress.IN_PROGRESS if begun else progress.NOT_STARTED

    def points(self, number: str) -> int:
        """Points earned in the exercise of a lesson; 0 for a lesson without one."""
        if not lesson(number).points:
            return 0
        entries = self.record["questions"].items()
        return sum(int(entry.get("points", 0)) for key, entry in entries if key.startswith(f"{number}."))

    def score(self, quiz: str) -> str:
        """Best score in a quiz, for example ``5 of 8``, or a dash."""
        entry = self.record["quizzes"].get(quiz, {})
        return f"{entry['best']} of {entry['out_of']}" if "best" in entry and "out_of" in entry else "–"

    def resume(self) -> Lesson | None:
        """The lesson to continue with: the last one opened, or the next one if that is done."""
        last = self.record["last"].get("lesson")
        known = [one for one in LESSONS if one.number == last]
        if not known:
            return None
        if self.status(known[0].number) != progress.DONE:
            return known[0]
        return next((one for one in LESSONS if self.status(one.number) != progress.DONE), None)

    def rows(self) -> list[tuple[Lesson, str, str, str]]:
        """For each lesson: itself, its status, its points, and its quiz score."""
        return [
            (one, self.status(one.number), f"{self.points(one.number)} of {one.points}" if one.points else "–",
             self.score(one.number))
            for one in LESSONS
        ]  # fmt: skip

    def __repr__(self) -> str:
        lines = [
            f"{one.number} {one.title:28} {one.minutes:3} min  {status:12} exercise {points:8} quiz {score}"
            for one, status, points, score in self.rows()
        ]
        return "\n".join([*lines, self._total()])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" class="{style}">{name}</th>' for name, style in HEADER)
        body = "".join(self._row(*row) for row in self.rows())
        return page(
            f'<h4>Your way through the course</h4>{self._resume_line()}<table class="learn-map"><thead><tr>{head}</tr>'
            f'</thead><tbody>{body}</tbody></table><p class="learn-faint">{self._total()} Course quiz: '
            f"{self.score(COURSE_QUIZ)}.</p>"
        )

    def _row(self, one: Lesson, status: str, points: str, score: str) -> str:
        exercise = f'<a href="../exercises/{one.exercise}">{points} points</a>' if one.exercise else "–"
        minutes = f"{one.minutes} + {one.exercise_minutes}" if one.exercise_minutes else str(one.minutes)
        return (
            f'<tr><td><a href="{one.file}">{one.number} {escape(one.title)}</a><br>'
            f'<span class="learn-faint">{escape(one.idea)}</span></td><td class="figure">{minutes}</td>'
            f'<td class="verdict {STATUS_COLOURS[status]}">{status}</td><td class="figure">{exercise}</td>'
            f'<td class="figure">{score}</td></tr>'
        )

    def _resume_line(self) -> str:
        target = self.resume()
        if target is None:
            return ""
        return (
            f'<p class="learn-text">Go on with <a href="{target.file}">{target.number} {escape(target.title)}</a>.</p>'
        )

    def _total(self) -> str:
        done = sum(status == progress.DONE for _, status, _, _ in self.rows())
        earned, possible = sum(self.points(one.number) for one in LESSONS), sum(one.points for one in LESSONS)
        minutes = sum(one.minutes + one.exercise_minutes for one in LESSONS)
        return f"{done} of {len(LESSONS)} lessons done, {earned} of {possible} points, about {minutes} minutes in all."
