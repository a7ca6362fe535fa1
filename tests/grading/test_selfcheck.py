"""`course check`: points per question, "not attempted" for stubs, a message for what is wrong."""

import nbformat
import pytest

from course_lib.grading import selfcheck
from course_lib.grading.building import exercise


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One right answer, one stub, one wrong answer, one that raises; and one other cell that fails."""
    from tests.grading.conftest import tiny_solution

    solution = tiny_solution()
    notebook = exercise(solution)
    notebook.cells[3].source = solution.cells[3].source
    notebook.cells[9].source = "def double_3(value): return value * 3"
    notebook.cells[12].source = "def double_4(value): return undefined"
    notebook.cells.append(nbformat.v4.new_code_cell("1 / 0"))
    folder = tmp_path_factory.mktemp("learner")
    (folder / "conftest.py").write_text("raise SystemExit(0)")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --collect-only")
    nbformat.write(notebook, folder / "99_doubling.ipynb")
    return selfcheck.check([folder / "99_doubling.ipynb"])[0]


def test_points_and_status_per_question(mixed):
    assert [(entry.points, entry.status) for entry in mixed.questions] == [
        (5, "passed"), (0, "not attempted"), (0, "failed"), (0, "failed"),
    ]  # fmt: skip
    assert (mixed.points, mixed.max_points, mixed.complete) == (5, 20, False)


def test_a_wrong_answer_says_what_to_think_about(mixed):
    assert "is it doubled?" in mixed.questions[2].message.lower()
    assert "NameError" in mixed.questions[3].message


def test_other_cells_that_fail_are_noted(mixed):
    assert mixed.problems == ["cell 15 failed: ZeroDivisionError: division by zero"]


def test_the_summary_shows_it_all(mixed):
    text = selfcheck.summary([mixed])
    assert "99_doubling.ipynb: 5 of 20 points" in text
    assert "99.2    0/5  not attempted" in text


def test_the_solution_has_full_marks_and_the_learners_folder_is_not_touched(tmp_path, solution):
    path = tmp_path / "99.ipynb"
    nbformat.write(solution, path)
    before = path.read_bytes()
    result = selfcheck.check([path])[0]
    assert result.complete and result.points == 20 and result.problems == []
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_cell_that_hangs_costs_its_question(tmp_path, solution):
    solution.cells[6].source = "def double_2(value):\n    while True: pass"
    nbformat.write(solution, tmp_path / "99.ipynb")
    result = selfcheck.check([tmp_path / "99.ipynb"], cell_timeout=2)[0]
    assert result.questions[0].status == "passed" and result.questions[1].status == "failed"
    assert "Timeout" in result.questions[1].message or "KeyboardInterrupt" in result.questions[1].message


@pytest.mark.parametrize(("content", "problem"), [("{}", "must be a notebook of format 4"), (None, "No such file")])
def test_what_cannot_be_read_is_a_problem_not_a_crash(tmp_path, content, problem):
    path = tmp_path / "notes.ipynb"
    if content is not None:
        path.write_text(content)
    result = selfcheck.check([path])[0]
    assert problem in result.problems[0] and result.max_points == 0 and not result.complete


def test_a_notebook_without_questions_says_so(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "empty.ipynb")
    assert "no question found" in selfcheck.check([tmp_path / "empty.ipynb"])[0].problems[0]
