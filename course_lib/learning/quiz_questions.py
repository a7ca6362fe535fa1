"""Questions of the quizzes: read from YAML files in ``quizzes/`` (format: ``quizzes/schema.json``), and graded."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from course_lib.core.validation import check_choice

FOLDER = Path(__file__).parent / "quizzes"
SCHEMA = FOLDER / "schema.json"
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")


@dataclass(frozen=True)
class Option:
    """One option, whether it is right, and why."""

    text: str
    because: str
    right: bool = False


@dataclass(frozen=True)
class Mistake:
    """A typical wrong number and its explanation."""

    value: float
    because: str


@dataclass(frozen=True)
class Verdict:
    """The result for an answer: ``remarks`` are pairs of the answered text and its explanation."""

    right: bool
    remarks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class QuizQuestion:
    """One question.

    Args:
        id: unique within its quiz.
        kind: ``"one"`` (one right option), ``"several"`` (any number of right options), or ``"number"``.
        text: the question; `` `code` `` and ``*emphasis*`` are marked up.
        options: for the two kinds of choices, in the order of the file.
        answer: for a number, with its largest accepted difference ``tolerance``, its ``unit``, and why (``because``).
        mistakes: for a number: typical wrong values.
    """

    id: str
    topic: str
    kind: str
    text: str
    options: tuple[Option, ...] = ()
    answer: float = math.nan
    tolerance: float = 0.0
    unit: str = ""
    because: str = ""
    mistakes: tuple[Mistake, ...] = ()

    def shuffled(self, quiz: str) -> list[int]:
        """Positions of the options in the order shown: always the same, and different from the file."""
        order = list(range(len(self.options)))
        random.Random(f"{quiz}/{self.id}").shuffle(order)
        return order

    def grade(self, answer: Any) -> Verdict:
        """Judge an answer: positions of the chosen options, or the text of a number.

        Raises:
            ValueError: if nothing is chosen, a position does not exist, or the text is not a number.
        """
        return self._grade_number(read_number(answer)) if self.kind == "number" else self._grade_choice(answer)

    def _grade_choice(self, chosen: Collection[int]) -> Verdict:
        picked = sorted(set(chosen))
        if not picked:
            raise ValueError("choose an option first")
        for position in picked:
            check_choice("position", position, range(len(self.options)))
        right = {position for position, option in enumerate(self.options) if option.right}
        remarks = [(self.options[position].text, self.options[position].because) for position in picked]
        missing = len(right - set(picked))
        if missing and set(picked) <= right:
            remarks.append(
                ("", f"So far so good, but {missing} more of the options {'is' if missing == 1 else 'are'} right.")
            )
        return Verdict(set(picked) == right, tuple(remarks))

    def _grade_number(self, value: float) -> Verdict:
        shown = f"{value:g} {self.unit}".strip()
        if abs(value - self.answer) <= self.tolerance * (1 + 1e-9):
            return Verdict(True, ((shown, self.because),))
        near = [one for one in self.mistakes if abs(value - one.value) <= max(self.tolerance, 0.005 * abs(one.value))]
        because = near[0].because if near else "Not this number. Write down what is counted, and in which unit."
        return Verdict(False, ((shown, because),))


@dataclass(frozen=True)
class Quiz:
    """All questions of a lesson, or of the course."""

    id: str
    title: str
    questions: tuple[QuizQuestion, ...]


def names() -> list[str]:
    """The quizzes that exist."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


@cache
def load(name: str) -> Quiz:
    """Read a quiz.

    Raises:
        ValueError: if there is no quiz of this name.
    """
    check_choice("name", name, names())
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return Quiz(content["id"], content["title"], tuple(_question(entry) for entry in content["questions"]))


def read_number(text: str) -> float:
    """Parse a number with an optional unit, a decimal comma, or commas between thousands.

    Raises:
        ValueError: if it is not one number.
    """
    typed = str(text).strip().replace("−", "-").replace("\u202f", "").replace(" ", "")
    typed = re.sub(r"(×|%|[a-zA-Z/]+)$", "", typed)
    typed = typed.replace(",", "") if _THOUSANDS.fullmatch(typed) else typed.replace(",", ".")
    try:
        value = float(typed)
    except ValueError:
        raise ValueError(f"type one number, for example 3.5; got {str(text)[:40]!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"type one number, for example 3.5; got {str(text)[:40]!r}")
    return value


def _question(entry: dict[str, Any]) -> QuizQuestion:
    parts = dict(entry)
    parts["options"] = tuple(Option(**option) for option in entry.get("options", ()))
    parts["mistakes"] = tuple(Mistake(**mistake) for mistake in entry.get("mistakes", ()))
    return QuizQuestion(**parts)
