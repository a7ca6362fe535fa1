"""A submission is run, compared and decided; when a run breaks, that costs the question that broke it and no other."""

from __future__ import annotations

import pytest

from course_lib.grading import building, decision, grade, intake, nbval_run, probes, sandbox
from course_lib.grading.assignment import Assignment
from course_lib.grading.nbval_report import CellReport, KernelState
from course_lib.grading.outcome import Status, Stop, StopReason, Verdict
from course_lib.grading.settings import Settings


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


@pytest.fixture
def handed_in(tmp_path):
    """The solution of exercise 01 as the submission of a student."""
    (source,) = building.SOLUTIONS.glob("01_*.ipynb")
    (tmp_path / "anna.ipynb").write_text(source.read_text())
    (one,) = intake.collect([tmp_path / "anna.ipynb"])
    return one


def test_verdicts_become_points_and_are_stored_once(handed_in, tmp_path, monkeypatch):
    missing = {f"01.{number}": Verdict(Status.NOT_ATTEMPTED) for number in range(3, 7)}
    failed = Verdict(Status.ERROR, "ZeroDivisionError: division by zero")
    verdicts = [{"01.1": Verdict(Status.PASSED), "01.2": failed, **missing}]
    monkeypatch.setattr(grade, "judge", lambda *_, **__: decision.Decision(verdicts.pop(), ("cell 2 is left out",)))
    monkeypatch.setattr(sandbox, "require", lambda level="bwrap": level)
    monkeypatch.setattr(Settings, "references", lambda self, assignment: [{}])
    settings = Settings(str(tmp_path / "out"), str(tmp_path / "state"), pool=1)
    result = grade.grade_one(handed_in, settings)
    found = {one.question: (one.points > 0, one.status, one.details) for one in result.questions}
    assert found["01.1"] == (True, Status.PASSED, "")
    assert found["01.2"] == (False, Status.ERROR, "ZeroDivisionError: division by zero")
    assert found["01.3"] == (False, Status.NOT_ATTEMPTED, "") and result.max_points == 20
    assert result.notes == ("cell 2 is left out",)
    assert grade.grade_one(handed_in, settings) == result and verdicts == []


def test_a_notebook_of_no_exercise_is_refused(handed_in, tmp_path):
    settings = Settings(str(tmp_path / "out"), str(tmp_path / "state"), str(tmp_path / "nothing"))
    result = grade.grade_one(handed_in, settings)
    assert (result.problem, result.questions) == ("no answer cell of an exercise was found in it", ())
