"""Which answers run again: without a cell that ended the kernel, and failed ones apart from what they do not use."""

from __future__ import annotations

from course_lib.grading import reruns
from course_lib.grading.outcome import KERNEL_ENDED, TOO_LONG, Status, Verdict

PASSED, WRONG = Verdict(Status.PASSED), Verdict(Status.WRONG)
ANSWERS = {"a": "def f(): return 1", "b": "def g(): return f()", "c": "def h(): return 3"}


def simulated(*runs):
    """Takes attempts from ``runs`` and writes down which answers ran and which of them were probed."""
    asked, prepared = [], iter(runs)

    def run(answers, probed):
        asked.append(("".join(answers), "".join(probed)))
        return next(prepared)

    return run, asked


def decide(run, answers=ANSWERS, questions="abc"):
    return reruns.decide(run, answers, list(questions))


def test_when_all_pass_there_is_one_run():
    run, asked = simulated(reruns.Attempt(dict.fromkeys("abc", PASSED)))
    assert decide(run) == dict.fromkeys("abc", PASSED) and asked == [("abc", "abc")]


def test_a_failed_question_runs_again_with_only_what_it_uses():
    first = reruns.Attempt({"a": PASSED, "b": PASSED, "c": WRONG})
    run, asked = simulated(first, reruns.Attempt({"c": PASSED}))
    assert decide(run) == dict.fromkeys("abc", PASSED) and asked == [("abc", "abc"), ("c", "c")]


def test_what_had_only_its_needs_before_it_does_not_run_again():
    run, asked = simulated(reruns.Attempt({"a": WRONG, "b": WRONG, "c": PASSED}))
    assert decide(run) == {"a": WRONG, "b": WRONG, "c": PASSED} and len(asked) == 1


def test_an_answer_that_is_not_python_does_not_run_again():
    run, asked = simulated(reruns.Attempt({"a": PASSED, "c": WRONG}))
    assert decide(run, {"a": "def f(): return 1", "c": "def h(:"}, "ac")["c"] == WRONG and len(asked) == 1


def test_a_question_that_ends_the_kernel_is_left_out_and_then_run_apart():
    ended = Verdict.stopped(KERNEL_ENDED)
    run, asked = simulated(
        reruns.Attempt({"a": PASSED, "b": ended}, lost_at="b"),
        reruns.Attempt({"c": PASSED}),
        reruns.Attempt({"b": ended}, lost_at="b"),
    )
    answers = ANSWERS | {"b": "def g(): return 2"}
    assert decide(run, answers) == {"a": PASSED, "b": ended, "c": PASSED}
    assert asked == [("abc", "abc"), ("ac", "c"), ("b", "b")]


def test_a_helper_cell_that_takes_too_long_is_left_out():
    run, asked = simulated(reruns.Attempt({}, lost_at="helper-2"), reruns.Attempt({"a": PASSED}))
    assert decide(run, {"helper-2": "X = 9**9**9", "a": "def f(): return 1"}, "a") == {"a": PASSED}
    assert asked == [("helper-2a", "a"), ("a", "a")]


def test_a_helper_cell_is_with_the_question_that_uses_it():
    run, asked = simulated(reruns.Attempt({"a": PASSED, "b": WRONG}), reruns.Attempt({"b": PASSED}))
    answers = {"helper-2": "X = 9", "a": "def f(): return 1", "b": "def g(): return X"}
    assert decide(run, answers, "ab") == {"a": PASSED, "b": PASSED}
    assert asked == [("helper-2ab", "ab"), ("helper-2b", "b")]


def test_a_question_that_took_too_long_costs_only_itself():
    late = Verdict.stopped(TOO_LONG)
    run, asked = simulated(reruns.Attempt({"a": late}, lost_at="a"), reruns.Attempt({"c": PASSED}))
    assert decide(run, {"a": "while True: pass", "c": "def h(): return 3"}, "ac") == {"a": late, "c": PASSED}
    assert asked == [("ac", "ac"), ("c", "c")]
