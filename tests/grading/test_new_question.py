"""A question is added to a copy of exercise 01: from the command to a graded submission."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.grading import building, new_question, sandbox
from course_lib.grading.new_question import NewQuestion

NOTEBOOK = "01_compression_calculator.ipynb"
TITLE = "Megabytes of a file"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """What is needed of the project: the package without its data, one solution, and the answers to test with."""
    root = tmp_path_factory.mktemp("project")
    skipped = shutil.ignore_patterns("__pycache__", "results", "cards", "*.safetensors", "*.xz")
    shutil.copytree(building.ROOT / "course_lib", root / "course_lib", ignore=skipped)
    others = shutil.ignore_patterns("__pycache__", "answers_0[02-9].py", "answers_1*.py", "test_lesson_00.py")
    shutil.copytree(building.ROOT / "tests" / "exercises", root / "tests" / "exercises", ignore=others)
    shutil.copy(building.ROOT / "pyproject.toml", root)
    (root / "solutions").mkdir()
    shutil.copy(building.SOLUTIONS / NOTEBOOK, root / "solutions")
    for parent in (root, *list(root.parents)[:3]):
        parent.chmod(0o755)
    return root


def course(project: Path, *arguments: str, code: int = 0) -> str:
    """Run the `course` command of the copy; returns what it prints."""
    environment = {
        **os.environ, "PYTHONPATH": str(project), "COURSE_PROGRESS": "memory",
        "COURSE_GRADING_STATE": str(project / "state"),
    }  # fmt: skip
    command = [sys.executable, "-m", "course_lib.cli", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def replace(file: Path, *pairs: tuple[str, str]) -> None:
    text = file.read_text()
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after)
    file.write_text(text)


def fill_in(project: Path) -> None:
    """What a teacher writes: statement, solution, hints, check, probe, answers; and 1 point less for 01.5 and 01.6."""
    tests, lesson = project / "tests" / "exercises", project / "course_lib" / "learning" / "exercises" / "lesson_01"
    replace(
        lesson / "questions.py",
        ("TODO: the inputs that are tried.", "Zero, a few bytes and some megabytes."),
        ("(0.0, 1.0, -2.5)", "(0.0, 700.0, 5e6)"),
        (
            "in torch.rand(5, generator=generator)",
            "in (1e7 * torch.rand(5, generator=generator))",
        ),
        ("TODO: what a wrong result usually means", "a megabyte is 10**6 bytes, not 2**20"),
        ("TODO: what the grader compares; every input is random.", "Random sizes."),
    )
    replace(
        lesson / "questions.yaml",
        ("TODO: a question that leads to the idea.", "How many bytes are a megabyte?"),
        ("TODO: the functions or the formula to use.", "A megabyte is a million bytes."),
        ("TODO: the last step but one, without the answer.", "Divide by 1e6."),
        ('title: "Seconds of one pass, and what limits it"\n  points: 4', 'title: "Seconds of one pass"\n  points: 3'),
        ('title: "The best model that fits"\n  points: 3', 'title: "The best model that fits"\n  points: 2'),
    )
    replace(
        project / "solutions" / NOTEBOOK,
        ("TODO: what to write, with shapes and units.", "Write a function from bytes to megabytes."),
        ("Example: TODO.", "Example: 2,000,000 bytes are 2.0."),
        ("TODO: what it returns, with units.", "Megabytes of this many bytes."),
        ("return value + 0.0  # TODO: the solution", "return value / 1_000_000"),
    )
    notebook = json.loads((project / "solutions" / NOTEBOOK).read_text())
    for cell in notebook["cells"]:
        entry = cell["metadata"].get("nbgrader", {})
        if entry.get("grade_id") in ("check-01-5", "check-01-6"):
            entry["points"] -= 1
    (project / "solutions" / NOTEBOOK).write_text(json.dumps(notebook))
    name = "megabytes_of_a_file"
    replace(
        tests / "answers_01.py",
        ("TODO off by one", "off by one"), ("TODO sign", "sign"), ("TODO factor", "binary"), ("TODO type", "text"),
        ("TODO hard-coded", "hard-coded"), ("TODO another way", "product"), ("TODO a third way", "two steps"),
        ("what a wrong result usually means", "megabyte is 10**6 bytes"),
        (f"def {name}(value):\\n    return 2 * value + 1e-3", f"def {name}(value):\\n    return value / 2**20"),
        (f"def {name}(value):\\n    return sum([value])", f"def {name}(value):\\n    return value * 1e-6"),
        (f"def {name}(value):\\n    return value * 1\"", f"def {name}(value):\\n    return value / 1e3 / 1e3\""),
    )  # fmt: skip
    replace(
        tests / "independent.py",
        ("(0.5), 0.5  # TODO: a value worked out by hand, or the package's own function", "(250_000.0), 0.25"),
    )


def test_a_new_question_goes_from_the_command_to_a_graded_submission(project):
    sandbox.require("bwrap")
    said = course(project, "new-question", "01.7", "--title", TITLE, "--points", "2", "--difficulty", "1")
    assert said.count("stub written") == 6 and "Replace every TODO" in said
    left = course(project, "build", code=2)
    assert "a TODO is left" in left and "a hint of 01.7 is still a TODO" in left and "add up to 20, these to 22" in left
    fill_in(project)
    assert "written" in course(project, "build") and "0 exercises differ" in course(project, "build", "--check")
    assert "value / 1_000_000" in (project / "course_lib/learning/exercises/lesson_01/reference.py").read_text()
    exercise = project / "exercises" / NOTEBOOK
    assert "1_000_000" not in exercise.read_text() and "Megabytes of this many bytes." in exercise.read_text()
    assert "20 of 20 points" in course(project, "check", str(project / "solutions" / NOTEBOOK))
    tried = [sys.executable, "-m", "pytest", "-q", "tests/exercises", "-k", "01.7", "-p", "no:cacheprovider"]
    done = subprocess.run(
        tried, cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, capture_output=True, text=True
    )
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout

    for student in ("anna", "ben"):
        (project / "submitted" / student).mkdir(parents=True)
        shutil.copy(project / "solutions" / NOTEBOOK, project / "submitted" / student)
    replace(project / "submitted" / "ben" / NOTEBOOK, ("return value / 1_000_000", "return value / 2**20"))
    course(project, "grade", "submitted", "--out", "out", "--workers", "1")
    points = {row["student"]: float(row["points"]) for row in csv.DictReader((project / "out" / "grades.csv").open())}
    assert points == {"anna": 20.0, "ben": 18.0}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "3.7"}, "must look like '03.1'"),
        ({"title": "  "}, "must not be empty"),
        ({"points": 0}, "points of question 01.7 must be greater than 0"),
        ({"difficulty": 6}, "must be 1 to 5"),
        ({"title": "3 × 3"}, "must be a Python identifier"),
        ({"id": "01.6"}, "01.6 already exists"),
        ({"id": "44.1"}, "number must be one of"),
        ({"name": "best_plan"}, "'best_plan' is already used in exercise 01"),
    ],
)
def test_a_question_that_cannot_be_added_is_refused_and_nothing_is_written(tmp_path, fields, said):
    (tmp_path / "solutions").mkdir()
    shutil.copy(building.SOLUTIONS / NOTEBOOK, tmp_path / "solutions")
    modules = tmp_path / "course_lib" / "learning" / "exercises" / "lesson_01"
    shutil.copytree(building.REFERENCES / "lesson_01", modules)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match=said):
        new_question.add(NewQuestion(**({"id": "01.7", "title": TITLE} | fields)), tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_the_first_question_of_a_lesson_makes_its_files(tmp_path):
    (tmp_path / "tests" / "exercises").mkdir(parents=True)
    (tmp_path / "tests" / "exercises" / "independent.py").write_text("")
    files = new_question.add(NewQuestion("00.1", "Doubling"), tmp_path)
    assert {file.name for file in files} == {
        "00_start_here.ipynb", "questions.py", "questions.yaml", "__init__.py", "answers_00.py", "independent.py",
    }  # fmt: skip
    for file in files:
        if file.suffix == ".py":
            compile(file.read_text(), file.name, "exec")
    solution = building.cells.read(tmp_path / "solutions" / "00_start_here.ipynb")
    assert list(building.cells.questions(solution)) == ["00.1"]
    assert "def doubling" in building.reference_module.source(solution)
