"""A run over many submissions is resumable and deterministic, and has a result for each of them."""

from __future__ import annotations

import functools
import json
import shutil

import pytest

from course_lib.grading import (
    batch,
    bubblewrap,
    building,
    classroom,
    decision,
    grade,
    gradebook,
    intake,
    probes,
    sandbox,
)
from course_lib.grading.outcome import Status, Verdict
from course_lib.grading.settings import Settings

LESSON = "01"


@pytest.fixture(scope="module")
def solutions(tmp_path_factory):
    """A folder with one solution, so that one assignment is read."""
    folder = tmp_path_factory.mktemp("solutions")
    (source,) = building.SOLUTIONS.glob(f"{LESSON}_*.ipynb")
    shutil.copy(source, folder)
    return folder


@pytest.fixture
def settings(tmp_path, solutions):
    return Settings(str(tmp_path / "out"), str(tmp_path / "state"), solutions=str(solutions), pool=2)


@pytest.fixture
def submitted(tmp_path, solutions):
    """One right, one untouched, one half done, one that is no notebook."""
    (source,) = solutions.glob("*.ipynb")
    folder = tmp_path / "submitted"
    exercise = building.exercise_text(building.cells.read(source))
    for student, text in {"anna": source.read_text(), "ben": exercise, "cleo": exercise, "dora": "{}"}.items():
        (folder / student).mkdir(parents=True)
        (folder / student / source.name).write_text(text)
    notebook = json.loads((folder / "cleo" / source.name).read_text())
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "answer-01-1":
            cell["source"] = "def dense_bytes(shapes, dtype):\n    return 0\n"
    (folder / "cleo" / source.name).write_text(json.dumps(notebook))
    return folder


@pytest.fixture
def simulated(monkeypatch):
    """Verdicts without a sandbox: an answer with the markers of the solution passes; the list of what was graded."""
    graded = []

    def judge(assignment, taken, references, files, *, level, limits=None):
        graded.append(taken.answers)
        verdicts = {
            id: Verdict(Status.PASSED if "BEGIN SOLUTION" in source else Status.WRONG)
            for id, source in taken.answers.items()
        }
        return decision.Decision(verdicts, ())

    monkeypatch.setattr(grade, "judge", judge)
    monkeypatch.setattr(sandbox, "require", lambda level="bwrap": level)
    monkeypatch.setattr(probes, "_compute", lambda assignment, key, pool: [
        {id: {"seed": 1, "line": "1", "floors": []} for id in assignment.questions}
    ] * pool)  # fmt: skip
    return graded


def points(results):
    return {result.student: result.points for result in results}


def test_every_submission_has_a_result(submitted, settings, simulated):
    results = batch.grade([submitted], settings)
    assert points(results) == {"anna": 20, "ben": 0, "cleo": 0, "dora": 0}
    assert results[3].problem.startswith("the file is not a notebook") and results[3].questions == ()
    assert all(result.level == "bwrap" for result in results)


def test_what_was_graded_is_not_graded_again(submitted, settings, simulated):
    first = batch.grade([submitted], settings)
    count = len(simulated)
    assert batch.grade([submitted], settings) == first
    assert len(simulated) == count == 4  # three students and the solution


def test_a_damaged_or_half_written_result_is_made_again(submitted, settings, simulated, tmp_path):
    first = batch.grade([submitted], settings)
    files = sorted((tmp_path / "out" / "results").glob("*.json"))
    files[0].write_text("{")
    files[1].write_text("[]")
    (files[2].with_suffix(".partial")).write_text("half")
    assert points(batch.grade([submitted], settings)) == points(first) and len(simulated) == 7


def test_a_missing_result_is_an_error(submitted, settings, simulated):
    with pytest.raises(RuntimeError, match="4 submissions, but 3 results"):
        batch.grade([submitted], settings, run=lambda found, settings: batch.one_by_one(found[:3], settings))


def test_without_a_sandbox_nothing_is_run(submitted, settings, monkeypatch):
    monkeypatch.setattr(bubblewrap, "problem", lambda: "bubblewrap is not installed")
    with pytest.raises(sandbox.SandboxError, match="bubblewrap is not installed"):
        batch.grade([submitted], settings)
    with pytest.raises(sandbox.SandboxError, match="has to be allowed explicitly"):
        classroom.grade_class([submitted], submitted.parent / "out", level="process")
    assert not (submitted.parent / "out").exists()


def test_infrastructure_failures_are_tried_again_and_then_set_aside(submitted, settings, monkeypatch):
    class Future:
        def __init__(self, key, error):
            self.key, self.error, self.status = key, error, "error" if error else "finished"

        def result(self):
            return self.key

        def exception(self):
            return self.error

    class Client:
        calls = 0

        def submit(self, function, one, settings, *, key, **options):
            Client.calls += 1
            broken = one.student == "ben" or (one.student == "anna" and Client.calls < 3)
            return Future(key, OSError("no space") if broken else None)

    class Flow(list):
        def add(self, future):
            self.append(future)

    monkeypatch.setitem(__import__("sys").modules, "distributed", type("D", (), {"as_completed": Flow}))
    found = intake.collect([submitted])
    results = dict(batch._completed(Client(), found, settings, window=2))
    assert sorted(results) == [0, 1, 2, 3]
    assert results[1].set_aside and "after 3 attempts: OSError: no space" in results[1].problem


def test_a_cluster_that_exists_is_used_and_its_workers_say_what_they_can(submitted, settings, simulated, capsys):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as there:
        run = functools.partial(batch.on_workers, scheduler=there.scheduler_address)
        results = batch.grade([submitted], settings, run=run)
    assert points(results) == {"anna": 20, "ben": 0, "cleo": 0, "dora": 0}
    told = capsys.readouterr()
    assert "grades at bwrap, could" in told.out and "notebook/s" in told.err


def test_a_worker_without_the_sandbox_is_an_error_before_anything_runs(submitted, settings, simulated, monkeypatch):
    from distributed import LocalCluster

    def fail(level="bwrap"):
        raise sandbox.SandboxError("no sandbox on this worker")

    found = intake.collect([submitted])
    monkeypatch.setattr(sandbox, "require", fail)
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as there,
        pytest.raises(sandbox.SandboxError, match="no sandbox on this worker"),
    ):
        batch.on_workers(found, settings, scheduler=there.scheduler_address, progress=False)
    assert simulated == []


def test_a_class_is_graded_for_real(submitted, tmp_path, monkeypatch, solutions):
    """The whole way once: Dask, sandbox, nbval, gradebook, feedback; and the same points a second time."""
    monkeypatch.setenv("COURSE_GRADING_STATE", str(tmp_path / "state"))
    reports = [
        classroom.grade_class([submitted], tmp_path / out, solutions=solutions, workers=1, progress=False)
        for out in ("first", "second")
    ]
    expected = {"anna": 20, "ben": 0, "cleo": 0, "dora": 0}
    assert points(reports[0].results) == points(reports[1].results) == expected
    statuses = {one.status for one in reports[0].results[1].questions}
    assert statuses == {Status.NOT_ATTEMPTED} and reports[0].results[2].questions[0].status is Status.WRONG
    name = reports[0].results[0].assignment
    assert gradebook.scores(gradebook.default_url(tmp_path / "first"), name)["anna"] == 20
    assert len(list((tmp_path / "first" / "feedback").glob("*.html"))) == 4
    assert "4 submissions, 3 graded" in str(reports[0])
