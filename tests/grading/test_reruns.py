"""Which answers run again: without a question that ended the kernel or may have harmed others."""

from __future__ import annotations

from course_lib.grading import reruns
from course_lib.grading.outcome import KERNEL_ENDED, Status, Stop, StopReason, Verdict

PASSED, WRONG = Verdict(Status.PASSED), Verdict(Status.WRONG)


def simulated(runs):
    """Takes attempts from ``runs`` and writes down which answers ran and which of them were probed."""
    asked, prepared = [], iter(runs)

    def run(answers, probed):
        asked.append(("".join(answers), "".join(probed)))
        return next(prepared)

    return run, asked


def test_when_all_pass_there_is_one_run():
    run, asked = simulated([reruns.Attempt({"a": PASSED, "b": PASSED})])
    assert reruns.decide(run, {"a": "", "b": ""}) == {"a": PASSED, "b": PASSED} and asked == [("ab", "ab")]


def test_failed_questions_run_again_without_a_suspect():
    first = reruns.Attempt({"a": WRONG, "b": WRONG}, broken=frozenset("a"))
    run, asked = simulated([first, reruns.Attempt({"b": PASSED})])
    assert reruns.decide(run, {"a": "", "b": ""}) == {"a": WRONG, "b": PASSED}
    assert asked == [("ab", "ab"), ("b", "b")]


def test_wrong_answers_that_broke_nothing_do_not_run_again():
    run, asked = simulated([reruns.Attempt({"a": WRONG, "b": WRONG})])
    assert reruns.decide(run, {"a": "", "b": ""}) == {"a": WRONG, "b": WRONG} and len(asked) == 1


def test_a_question_that_ends_the_kernel_is_left_out_and_then_run_apart():
    ended = Verdict.stopped(KERNEL_ENDED)
    runs = [reruns.Attempt({"a": PASSED, "b": ended}, lost_at="b"), reruns.Attempt({"c": PASSED}), None]
    runs[2] = reruns.Attempt({"b": ended}, lost_at="b")
    run, asked = simulated(runs)
    assert reruns.decide(run, dict.fromkeys("abc", "")) == {"a": PASSED, "b": ended, "c": PASSED}
    assert asked == [("abc", "abc"), ("ac", "c"), ("abc", "b")]


def test_a_question_that_took_too_long_is_not_run_again():
    late = Verdict.stopped(Stop(StopReason.TIME, "it took too long"))
    run, asked = simulated([reruns.Attempt({"a": PASSED, "b": late}, lost_at="b")])
    assert reruns.decide(run, {"a": "", "b": ""}) == {"a": PASSED, "b": late} and len(asked) == 1
