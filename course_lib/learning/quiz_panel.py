"""The quiz panel: one question at a time, with immediate feedback and unlimited tries."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from html import escape
from typing import Any

import ipywidgets as widgets

from course_lib.learning import progress
from course_lib.learning.quiz_questions import Quiz, QuizQuestion, Verdict
from course_lib.learning.style import bare, line, rich
from course_lib.learning.widget_base import Activity, html

ASK = {"one": "Choose one.", "several": "Choose all that are right.", "number": "Type a number."}


class QuizPanel(Activity):
    """One question, its options, and the feedback to the answer.

    ``inputs`` maps question ids to controls, ``verdicts`` to the latest results; ``submit``, ``go`` and ``again`` are
    the actions of the buttons.
    """

    def __init__(self, quiz: Quiz) -> None:
        self.quiz = quiz
        self.index = 0
        self.verdicts: dict[str, Verdict] = {}
        self.tries: dict[str, int] = {}
        self.inputs = {question.id: self._input(question) for question in quiz.questions}
        self._head, self._text, self._feedback, self._score = (html() for _ in range(4))
        self._stage = widgets.VBox([])
        self._check = self.button("Check answer", self.submit, "primary")
        self._back = self.button("Previous", lambda: self.go(self.index - 1))
        self._next = self.button("Next", lambda: self.go(self.index + 1))
        self._again = self.button("Try the others again", self.again)
        buttons = widgets.HBox([self._check, self._back, self._next, self._again])
        super().__init__(self._head, self._text, self._stage, buttons, self._feedback, self._score)
        self._restore()
        self.go(0)

    @property
    def question(self) -> QuizQuestion:
        """The current question."""
        return self.quiz.questions[self.index]

    @property
    def right(self) -> int:
        """Number of questions whose latest answer is right."""
        return sum(verdict.right for verdict in self.verdicts.values())

    def go(self, index: int) -> None:
        """Show the question at ``index``, clamped to the first and last."""
        self.index = min(max(index, 0), len(self.quiz.questions) - 1)
        self._stage.children = (self.inputs[self.question.id],)
        self._draw()

    def submit(self) -> None:
        """Grade the answer to the current question, show the feedback, and record it; without an answer, say so."""
        question = self.question
        try:
            verdict = question.grade(answer_of(self.inputs[question.id]))
        except ValueError as error:
            self._feedback.value = _status(line("", "Not yet:", str(error)))
            return
        self.verdicts[question.id] = verdict
        self.tries[question.id] = self.tries.get(question.id, 0) + 1
        self._draw()
        self._record()

    def again(self) -> None:
        """Clear the wrong answers, and show the first of these questions."""
        missed = [question for question in self.quiz.questions if not self._is_right(question)]
        for question in missed:
            self.verdicts.pop(question.id, None)
            set_answer(self.inputs[question.id])
        if missed:
            self.go(self.quiz.questions.index(missed[0]))

    def _input(self, question: QuizQuestion) -> Choices | NumberField:
        if question.kind == "number":
            return NumberField(question.unit, lambda: self.perform(self.submit))
        options = [(bare(question.options[position].text), position) for position in question.shuffled(self.quiz.id)]
        return Choices(options, single=question.kind == "one")

    def _restore(self) -> None:
        """Show the answers that were recorded when the quiz was last taken, if they still fit its questions."""
        recorded = progress.read()["quizzes"].get(self.quiz.id, {}).get("answers", {})
        for question in self.quiz.questions:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                answer, tries = recorded[question.id]["answer"], int(recorded[question.id]["tries"])
                self.verdicts[question.id] = question.grade(answer)
                self.tries[question.id] = tries
                set_answer(self.inputs[question.id], answer)

    def _is_right(self, question: QuizQuestion) -> bool:
        verdict = self.verdicts.get(question.id)
        return verdict is not None and verdict.right

    def _record(self) -> None:
        answers = {
            question.id: {
                "answer": answer_of(self.inputs[question.id]),
                "right": self.verdicts[question.id].right,
                "tries": self.tries[question.id],
            }
            for question in self.quiz.questions
            if question.id in self.verdicts
        }
        progress.record_quiz(self.quiz.id, answers, self.right, len(self.quiz.questions))

    def _draw(self) -> None:
        question, total = self.question, len(self.quiz.questions)
        self._head.value = (
            f"<h4>{escape(self.quiz.title)}</h4>"
            f'<p class="learn-faint">Question {self.index + 1} of {total}. {ASK[question.kind]}</p>{self._dots()}'
        )
        self._text.value = f'<div class="learn-text">{rich(question.text)}</div>'
        self._feedback.value = _status(feedback(question, self.verdicts.get(question.id)))
        self._score.value = f'<p class="learn-faint">{self._summary()}</p>'
        self._back.disabled, self._next.disabled = self.index == 0, self.index == total - 1
        finished = len(self.verdicts) == total
        self._again.layout.display = None if finished and self.right < total else "none"

    def _dots(self) -> str:
        marks = []
        for index, question in enumerate(self.quiz.questions):
            verdict = self.verdicts.get(question.id)
            state = "" if verdict is None else ("right" if verdict.right else "wrong")
            marks.append(f'<i class="{state}{" now" if index == self.index else ""}"></i>')
        return f'<div class="learn-dots" role="img" aria-label="{self._summary()}">{"".join(marks)}</div>'

    def _summary(self) -> str:
        total, answered = len(self.quiz.questions), len(self.verdicts)
        if not answered:
            return f"{total} questions, none answered yet."
        left = f"; {total - answered} to go" if answered < total else ""
        return f"{self.right} of {answered} answered right{left}."

    def static_body(self) -> str:
        """The questions and their options, without the solution."""
        entries = "".join(f"<li>{_static_question(self.quiz.id, one)}</li>" for one in self.quiz.questions)
        return (
            f"<h4>{escape(self.quiz.title)}</h4>"
            f'<p class="learn-faint">{len(self.quiz.questions)} questions. Run this cell to answer them; every option '
            f'is explained.</p><ol class="learn-list">{entries}</ol>'
        )

    def static_text(self) -> str:
        """Name and length of the quiz."""
        return f"Quiz {self.quiz.id}: {self.quiz.title}, {len(self.quiz.questions)} questions"


class Choices(widgets.VBox):
    """A button for each option, pressed while it is chosen (JupyterLab takes the arrow keys of radio buttons).

    Args:
        options: pairs of text and position, in the order shown.
        single: whether choosing an option releases the others.
    """

    def __init__(self, options: list[tuple[str, int]], *, single: bool) -> None:
        self.positions = [position for _, position in options]
        layout = widgets.Layout(width="auto", height="auto", margin="0 0 6px")
        buttons = [widgets.ToggleButton(False, description=text, tooltip="", layout=layout) for text, _ in options]
        super().__init__(buttons)
        self.add_class("learn-choices")
        if single:
            for button in buttons:
                button.observe(self._release_others, "value")

    @property
    def chosen(self) -> list[int]:
        """Positions of the pressed options, in the order shown."""
        return [position for position, button in zip(self.positions, self.children, strict=True) if button.value]

    @chosen.setter
    def chosen(self, positions: Collection[int]) -> None:
        """Press the options at ``positions`` and release the others."""
        for position, button in zip(self.positions, self.children, strict=True):
            button.value = position in positions

    def _release_others(self, change: dict[str, Any]) -> None:
        if change["new"]:
            for button in self.children:
                button.value = button is change["owner"]


class NumberField(widgets.HBox):
    """A text field for a number with its unit; ``submit`` is called when Enter is pressed in it."""

    def __init__(self, unit: str, submit: Callable[[], None]) -> None:
        self.field = widgets.Text(placeholder="a number", layout=widgets.Layout(width="150px", margin="0 6px 8px 0"))
        self.field.tooltip = f"Your answer in {unit}" if unit else "Your answer"
        self.field.on_msg(lambda _, content, __: submit() if content.get("event") == "submit" else None)
        super().__init__([self.field, widgets.Label(unit)])


def answer_of(control: Choices | NumberField) -> Any:
    """The answer in a control: a list of positions, or text."""
    return control.chosen if isinstance(control, Choices) else control.field.value


def set_answer(control: Choices | NumberField, answer: Any = None) -> None:
    """Put an answer into a control, as ``answer_of`` returns it; None removes what is there."""
    if isinstance(control, Choices):
        control.chosen = answer or []
    else:
        control.field.value = str(answer or "")


def feedback(question: QuizQuestion, verdict: Verdict | None) -> str:
    """The explanation of an answer; after a right one, a section with the other options can be opened."""
    if verdict is None:
        return ""
    kind, lead = ("right", "Right.") if verdict.right else ("wrong", "Not quite.")
    if question.kind == "several":
        said = line(kind, lead, "") + _each(question, verdict)
    else:
        said = line(kind, lead, verdict.remarks[0][1])
    others = [one for one in question.options if one.text not in dict(verdict.remarks)]
    if verdict.right and others:
        rows = "".join(line("", f"{bare(one.text)}:", one.because) for one in others)
        said += f"<details><summary>Why not the others?</summary>{rows}</details>"
    return said


def _each(question: QuizQuestion, verdict: Verdict) -> str:
    """Every chosen option in its own colour."""
    right = {one.text for one in question.options if one.right}
    return "".join(
        line("right" if not answer or answer in right else "wrong", f"{bare(answer)}:" if answer else "", because)
        for answer, because in verdict.remarks
    )


def _status(content: str) -> str:
    return f'<div role="status">{content}</div>'


def _static_question(quiz: str, question: QuizQuestion) -> str:
    text = f'<div class="learn-text">{rich(question.text)}</div>'
    if question.kind == "number":
        unit = f" in {escape(question.unit)}" if question.unit else ""
        return f'{text}<p class="learn-faint">Your answer{unit}: …</p>'
    rows = "".join(f"<li>{rich(question.options[position].text)}</li>" for position in question.shuffled(quiz))
    return f'{text}<ul class="learn-options {question.kind}">{rows}</ul>'
