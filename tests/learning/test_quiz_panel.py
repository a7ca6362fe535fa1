"""The quiz panel grades, explains and records answers."""

from __future__ import annotations

import pytest

from course_lib.learning import progress, quiz
from course_lib.learning.quiz_panel import answer_of
from course_lib.learning.quiz_questions import load, names
from course_lib.learning.style import rich


def solve(panel, index, right=True):
    panel.go(index)
    question, control = panel.question, panel.inputs[panel.question.id]
    if question.kind == "number":
        control.field.value = str(question.answer if right else question.answer + 1000)
    else:
        fitting = [i for i, option in enumerate(question.options) if bool(option.right) == right]
        control.chosen = fitting[:1] if question.kind == "one" else fitting
    panel._check.click()


@pytest.mark.parametrize("name", names())
def test_a_quiz_answered_right_scores_full_and_is_recorded(name):
    panel = quiz(name)
    assert all(not answer_of(control) for control in panel.inputs.values()), "nothing is chosen beforehand"
    for index in range(len(panel.quiz.questions)):
        solve(panel, index)
    assert panel.error is None and panel.right == len(panel.quiz.questions)
    assert progress.read()["quizzes"][name]["best"] == panel.right
    assert panel._again.layout.display == "none"


def test_wrong_answers_are_explained_and_can_be_tried_again():
    panel = quiz("03")
    total = len(panel.quiz.questions)
    for index in range(total):
        solve(panel, index, right=index % 2 == 0)
    missed = panel.quiz.questions[1]
    panel.go(1)
    chosen = answer_of(panel.inputs[missed.id])
    assert "Not quite." in panel._feedback.value
    assert rich(missed.options[chosen[0]].because) in panel._feedback.value
    assert rich(next(o.because for o in missed.options if o.right)) not in panel._feedback.value
    panel._again.click()
    assert panel.question is missed and answer_of(panel.inputs[missed.id]) == [] and missed.id not in panel.verdicts
    solve(panel, 1)
    stored = progress.read()["quizzes"]["03"]
    assert stored["answers"][missed.id]["tries"] == 2 and stored["answers"][missed.id]["right"]


def test_after_a_right_answer_the_other_options_can_be_read():
    panel = quiz("03")
    solve(panel, 0)
    assert "Right." in panel._feedback.value and "Why not the others?" in panel._feedback.value
    for option in panel.question.options:
        assert rich(option.because) in panel._feedback.value


def test_checking_without_an_answer_asks_for_one_and_records_nothing():
    panel = quiz("03")
    panel._check.click()
    assert "choose an option first" in panel._feedback.value and panel.error is None
    assert panel.verdicts == {} and progress.read()["quizzes"] == {}


def test_previous_and_next_stop_at_the_ends_and_keep_what_was_chosen():
    panel = quiz("03")
    panel.inputs[panel.question.id].chosen = [2]
    assert panel._back.disabled and not panel._next.disabled
    panel._next.click()
    panel._back.click()
    assert panel.index == 0 and answer_of(panel.inputs[panel.question.id]) == [2]
    panel.go(99)
    assert panel.index == len(panel.quiz.questions) - 1 and panel._next.disabled


def press(control, position, value=True):
    control.children[control.positions.index(position)].value = value


def test_of_one_right_option_only_the_latest_is_chosen_and_of_several_all():
    panel = quiz("03")
    one = next(panel.inputs[question.id] for question in panel.quiz.questions if question.kind == "one")
    press(one, 0)
    press(one, 1)
    assert answer_of(one) == [1]
    press(one, 1, False)
    assert answer_of(one) == []
    many = next(
        control
        for name in names()
        for control, question in ((c, q) for q, c in zip(load(name).questions, quiz(name).inputs.values(), strict=True))
        if question.kind == "several"
    )
    press(many, 0)
    press(many, 1)
    assert sorted(answer_of(many)) == [0, 1]


def test_enter_submits_a_number():
    name, index = next(
        (name, index)
        for name in names()
        for index, question in enumerate(load(name).questions)
        if question.kind == "number"
    )
    panel = quiz(name)
    panel.go(index)
    field = panel.inputs[panel.question.id].field
    field.value = str(panel.question.answer)
    field._handle_custom_msg({"event": "submit"}, [])
    assert panel.verdicts[panel.question.id].right


def test_answers_are_shown_again_when_the_cell_is_run_again():
    panel = quiz("03")
    solve(panel, 0)
    solve(panel, 1, right=False)
    first, second = panel.quiz.questions[:2]
    again = quiz("03")
    assert again.right == 1 and not again.verdicts[second.id].right and again.tries[second.id] == 1
    assert answer_of(again.inputs[first.id]) == answer_of(panel.inputs[first.id]) and "Right." in again._feedback.value
    stored = progress.read()
    stored["quizzes"]["03"]["answers"][first.id] = {"answer": [99], "tries": 1}
    progress.update(lambda record: record.update(stored))
    assert first.id not in quiz("03").verdicts, "an answer to an older version of the question is left out"


def test_an_error_in_a_button_is_shown_kept_and_raised_in_tests(monkeypatch):
    panel = quiz("03")
    panel.inputs[panel.question.id].chosen = [0]

    def broken(*arguments):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(progress, "record_quiz", broken)
    with pytest.raises(RuntimeError):
        panel.perform(panel.submit)
    assert "disk on fire" in panel._notice.value and isinstance(panel.error, RuntimeError)
    monkeypatch.setenv("COURSE_STRICT_WIDGETS", "0")
    panel._check.click()
    assert isinstance(panel.error, RuntimeError)


@pytest.mark.parametrize("name", names())
def test_without_a_kernel_the_questions_are_listed_and_nothing_is_given_away(name):
    bundle = quiz(name)._repr_mimebundle_()
    shown = bundle["text/html"]
    for question in load(name).questions:
        explanations = [question.because, *[entry.because for entry in (*question.options, *question.mistakes)]]
        assert not any(rich(text) in shown for text in explanations if text)
        order = question.shuffled(name)
        places = [shown.find(f"<li>{option}") for option in (rich(question.options[i].text) for i in order)]
        assert all(place >= 0 for place in places), question.id
    assert "right" not in bundle["text/plain"]
    assert quiz(name)._repr_mimebundle_()["text/html"] == shown
