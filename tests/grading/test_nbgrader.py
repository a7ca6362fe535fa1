"""nbgrader itself can take the exercises over: it validates, autogrades and records them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbgrader")
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.validator import Validator
from traitlets.config import Config

from course_lib.grading import building, cells

NAMES = [path.stem for path in sorted(building.SOLUTIONS.glob("*.ipynb"))]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """alembic is called by its name; the notebooks find the course and a progress file of their own."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(building.ROOT))
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))


@pytest.mark.parametrize("name", NAMES)
def test_the_metadata_of_an_exercise_is_valid(name):
    MetadataValidator().validate_nb(cells.read(building.EXERCISES / f"{name}.ipynb"))


def test_validate_runs_an_exercise_and_finds_it_unanswered():
    (path,) = building.EXERCISES.glob("01_*.ipynb")
    report = Validator().validate(str(path))
    questions = cells.questions(cells.read(path))
    assert len(report["failed"]) == len(questions) and "changed" not in report


def handed_in(name):
    """The exercise as it is handed out, with the answers of the solution filled in."""
    solution = cells.read(building.SOLUTIONS / f"{name}.ipynb")
    notebook = json.loads((building.EXERCISES / f"{name}.ipynb").read_text(encoding="utf-8"))
    for place in cells.questions(solution).values():
        notebook["cells"][place.answer]["source"] = solution.cells[place.answer].source
    return notebook


@pytest.mark.parametrize("name", NAMES)
def test_autograde_gives_a_right_answer_all_points(tmp_path, name):
    for folder in (tmp_path / "source" / name, tmp_path / "submitted" / "anna" / name):
        folder.mkdir(parents=True)
    solution = (building.SOLUTIONS / f"{name}.ipynb").read_text(encoding="utf-8")
    (tmp_path / "source" / name / f"{name}.ipynb").write_text(solution, encoding="utf-8")
    (tmp_path / "submitted" / "anna" / name / f"{name}.ipynb").write_text(json.dumps(handed_in(name)))
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.course_id = "course"
    api = NbGraderAPI(config=config)
    made = api.generate_assignment(name)
    graded = api.autograde(name, "anna")
    assert made["success"] and graded["success"], made["log"] + graded["log"]
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as book:
        submission = book.find_submission(name, "anna")
        assert (submission.score, submission.max_score) == (20, 20)
