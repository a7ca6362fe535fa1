"""When a question breaks a run, it costs the question that broke it and no other."""

from __future__ import annotations

import pytest

from course_lib.grading import building, grade, nbval_run, probes, reruns
from course_lib.grading.assignment import Assignment
from course_lib.grading.nbval_report import CellReport, KernelState
from course_lib.grading.outcome import KERNEL_ENDED, Status, Stop, StopReason, Verdict


@pytest.fixture(scope="module")
def assignment():
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    return Assignment(solution)


@pytest.fixture(scope="module")
def references(assignment, tmp_path_factory):
    return probes.references(assignment, b"a key", tmp_path_factory.mktemp("state"), pool=1)[0]


def test_a_comparison_that_ends_without_a_report_costs_the_question_that_ended_it(assignment, references, monkeypatch):
    """Simulated: the answer to 01.2 ends the comparing process; all others would pass."""

    def run(notebook, files, *, level, limits=None):
        if any("bad" in cell.source for cell in notebook.cells):
            return nbval_run.Run({}, Stop(StopReason.COMPARISON_FAILED, "the comparison ended with status -6"))
        return nbval_run.Run({cell.id: CellReport(number, True) for number, cell in enumerate(notebook.cells)})

    monkeypatch.setattr(nbval_run, "run", run)
    answers = {"01.1": "good = 1", "01.2": "bad = 1", "01.4": "good = 2"}
    verdicts = grade.decide(assignment, answers, references, {}, level="bwrap")
    assert {id: found.status for id, found in verdicts.items()} == {
        "01.1": "passed", "01.2": "stopped", "01.4": "passed",
    }  # fmt: skip


def test_a_kernel_that_ends_late_costs_the_question_that_ended_it(assignment, references, monkeypatch):
    """Simulated: 01.1 ends the kernel with a delay, while 01.2 is running, which would be right."""

    def run(notebook, files, *, level, limits=None):
        ids = [cell.id for cell in notebook.cells]
        bad, reports = any("bad" in cell.source for cell in notebook.cells), {}
        for number, id in enumerate(ids):
            dead = bad and number >= ids.index("answer-01-2")
            state = KernelState.DEAD if dead else KernelState.ALIVE
            reports[id] = CellReport(number, not dead and id != "probe-01-1", kernel=state)
        return nbval_run.Run(reports)

    monkeypatch.setattr(nbval_run, "run", run)
    verdicts = grade.decide(assignment, {"01.1": "bad = 1", "01.2": "good = 1"}, references, {}, level="bwrap")
    assert {id: found.status for id, found in verdicts.items()} == {"01.1": "wrong", "01.2": "passed"}


def test_a_grader_that_does_not_work_is_an_error_and_no_verdict(assignment, references, monkeypatch):
    failure = Stop(StopReason.COMPARISON_FAILED, "the comparison ended with status 4")
    monkeypatch.setattr(nbval_run, "run", lambda *_, **__: nbval_run.Run({}, failure))
    with pytest.raises(RuntimeError, match="the grader itself does not work here: the comparison ended with status 4"):
        grade.decide(assignment, {"01.1": "x = 1"}, references, {}, level="bwrap")


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
