"""Before a class the solution is graded in the same sandbox: a fault of the grader costs no student points."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from course_lib import doctor
from course_lib.cli.app import app
from course_lib.grading import batch, bubblewrap, building, decision, grade, nbval_run, sandbox, trial
from course_lib.grading.assignment import Assignment, Reference
from course_lib.grading.nbval_report import CellReport
from course_lib.grading.outcome import Status, Verdict
from course_lib.grading.settings import Settings

TRIAL = "import os; os.umask({umask}); from course_lib.grading import trial; print(trial.problem('bwrap'))"


@pytest.fixture(scope="module")
def assignment():
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    return Assignment(solution)


@pytest.fixture
def private_course(tmp_path):
    """A copy of the course as ``git clone`` makes it under umask 077."""
    copied = tmp_path / "course"
    shutil.copytree(building.ROOT / "course_lib", copied / "course_lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(building.SOLUTIONS, copied / "solutions")
    shutil.copy(building.ROOT / "pyproject.toml", copied)
    for path in copied.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return copied


@pytest.mark.parametrize("umask", ["0o027", "0o077"])
def test_a_private_course_and_a_strict_umask_change_no_points(private_course, umask):
    finished = subprocess.run(
        [sys.executable, "-c", TRIAL.format(umask=umask)], cwd=private_course, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(private_course)}, check=False,
    )  # fmt: skip
    assert (finished.stdout.strip(), finished.returncode) == ("None", 0), finished.stderr[-500:]


def test_every_file_of_the_sandbox_can_be_read_by_its_user(assignment, tmp_path, monkeypatch):
    private = tmp_path / "core" / "palette.py"
    private.parent.mkdir()
    private.write_text("x = 1")
    private.chmod(0o600)
    monkeypatch.setattr("course_lib.grading.visible_files.visible", lambda *_: ["core/palette.py"])
    monkeypatch.setattr("course_lib.grading.assignment.PACKAGE", tmp_path)
    folder = tmp_path / "library"
    folder.mkdir()
    before = os.umask(0o077)
    try:
        files = assignment.stage(folder)
    finally:
        os.umask(before)
    assert files["course_lib/core/palette.py"].read_text() == "x = 1"
    assert all(file.stat().st_mode & stat.S_IROTH for file in files.values())
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_a_python_that_only_root_can_read_is_named_with_the_remedy(tmp_path, monkeypatch):
    folder = tmp_path / f"lib/python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert bubblewrap.unreadable_python() is None
    folder.chmod(0o700)
    assert bubblewrap.unreadable_python().endswith(f"run: chmod -R go+rX {tmp_path}")


@pytest.fixture
def submitted(tmp_path, assignment):
    file = tmp_path / "submitted" / "anna" / assignment.path.name
    file.parent.mkdir(parents=True)
    shutil.copy(assignment.path, file)
    return file.parent.parent


@pytest.fixture
def failing(monkeypatch):
    """A sandbox in which everything fails with an error of the grader."""

    def judge(assignment, taken, references, files, *, level, limits=None):
        return decision.Decision({id: Verdict(Status.ERROR, "PermissionError: /course/x") for id in taken.answers}, ())

    monkeypatch.setattr(grade, "judge", judge)


def test_nobody_is_graded_if_the_solution_does_not_get_full_marks(submitted, failing, tmp_path):
    settings = Settings(str(tmp_path / "out"), str(tmp_path / "state"), pool=1)
    with pytest.raises(trial.GraderFailed, match=r"own solution of 01_.* question 01\.1: error PermissionError: /cour"):
        batch.grade([submitted], settings, run=lambda *_: pytest.fail("a student was graded"))


def test_the_command_ends_with_one_line_and_exit_code_1(submitted, failing, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_GRADING_STATE", str(tmp_path / "state"))
    done = CliRunner().invoke(app, ["grade", str(submitted), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1 and done.output.count("so nobody was graded") == 1
    assert not list((tmp_path / "out").rglob("*.csv"))


def test_the_doctor_tries_it(failing):
    finding = doctor.grading_finding(try_it=True)
    assert not finding.ok and "PermissionError: /course/x" in finding.meaning
    assert doctor.grading_finding().ok


def test_an_error_before_the_first_answer_is_not_the_students(assignment, monkeypatch):
    def run(notebook, files, *, level, limits=None):
        broken = CellReport(0, False, error="PermissionError", message="[Errno 13] /course/x")
        return nbval_run.Run({notebook.cells[0].id: broken})

    monkeypatch.setattr(nbval_run, "run", run)
    references = {id: Reference(1, "1") for id in assignment.questions}
    with pytest.raises(RuntimeError, match="the grader itself does not work here: PermissionError"):
        grade.decide(assignment, assignment.answers, references, {}, level="bwrap")


def test_a_stored_result_needs_no_trial(submitted, tmp_path, monkeypatch, assignment):
    calls = []

    def judge(assignment, taken, references, files, *, level, limits=None):
        calls.append(taken.answers)
        return decision.Decision({id: Verdict(Status.PASSED) for id in taken.answers}, ())

    monkeypatch.setattr(grade, "judge", judge)
    settings = Settings(str(tmp_path / "out"), str(tmp_path / "state"), pool=1)
    assert [one.points for one in batch.grade([submitted], settings)] == [20]
    assert [one.points for one in batch.grade([submitted], settings)] == [20] and len(calls) == 2
    assert json.dumps(calls[0]) == json.dumps(assignment.answers) and sandbox.problem("bwrap") is None
