"""The form of every notebook in the repository, read from its file without running it."""

from __future__ import annotations

import statistics

import pytest

from course_lib.grading import building, cells

LESSONS = sorted((building.ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted(building.SOLUTIONS.glob("*.ipynb"))
EXERCISES = sorted(building.EXERCISES.glob("*.ipynb"))
ALL = [*LESSONS, *SOLUTIONS, *EXERCISES]

MAX_BYTES, LESSON_BYTES = 300_000, 450_000
LONGEST_CELL, MEDIAN_CELL = 25, 6
LONGEST_ANSWER = 40  # the repaired class of the published snippet
LESSON_CELLS = range(40, 81)

MARKED = {
    "00": 1,
    "01": 19,
    "02": 12,
    "03": 10,
    "04": 12,
    "05": 13,
    "06": 9,
    "07": 13,
    "08": 10,
    "09": 9,
    "10": 9,
    "11": 12,
    "13": 15,
    "12": 19,
}  # cells whose output nbval compares, at least


def name(path):
    return f"{path.parent.name}/{path.stem}"


def code_lines(cell):
    """Lines of code, without blank lines and comments."""
    lines = [line.strip() for line in cell.source.splitlines()]
    return sum(1 for line in lines if line and not line.startswith("#"))


def code_cells(path):
    return [cell for cell in cells.read(path).cells if cell.cell_type == "code"]


def is_marked(cell):
    return "nbval-check-output" in cell.metadata.get("tags", [])


def test_there_are_notebooks_of_every_kind():
    assert LESSONS and SOLUTIONS and [path.name for path in EXERCISES] == [path.name for path in SOLUTIONS]


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_notebook_is_small(path):
    assert path.stat().st_size <= (LESSON_BYTES if path in LESSONS else MAX_BYTES)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_notebook_carries_no_widget_state_and_no_private_metadata(path):
    notebook = cells.read(path)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"nbgrader", "tags", "deletable", "editable"}
        assert "attachments" not in cell


@pytest.mark.parametrize("path", ALL, ids=name)
def test_cells_are_short(path):
    lengths = [code_lines(cell) for cell in code_cells(path)]
    longest = LONGEST_CELL if path in LESSONS else LONGEST_ANSWER
    assert max(lengths) <= longest and statistics.median(lengths) <= MEDIAN_CELL


@pytest.mark.parametrize("path", [path for path in LESSONS if not path.name.startswith("00")], ids=name)
def test_a_lesson_has_forty_to_eighty_cells(path):
    assert len(cells.read(path).cells) in LESSON_CELLS


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_outputs_of_lessons_are_stored_and_none_is_an_error(path):
    for cell in code_cells(path):
        on_purpose = "raises-exception" in cell.metadata.get("tags", [])
        assert on_purpose or all(output.output_type != "error" for output in cell.outputs), cell.source
        if is_marked(cell):
            assert cell.outputs, f"a marked cell has no stored output:\n{cell.source}"


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_a_static_picture_stands_where_a_widget_is_not_alive(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            data = output.get("data", {})
            if "text/html" in data or "image/svg+xml" in data:
                assert "application/vnd.jupyter.widget-view+json" not in data, cell.source


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_a_lesson_has_facts_that_nbval_compares(path):
    assert sum(is_marked(cell) for cell in code_cells(path)) >= MARKED[path.name[:2]]


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_a_lesson_shows_its_ideas_and_not_its_tools(path):
    """Imports come from one place, and remarks for nbval, ruff and formatters are not in the code."""
    lines = "\n".join(cell.source for cell in code_cells(path)).splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    allowed = ["from course_lib.learning.lesson import *"]
    assert imports == (["from course_lib import doctor", *allowed] if path.name.startswith("00") else allowed)
    assert not any(mark in line for line in lines for mark in ("NBVAL_", "# noqa", "# fmt:"))


@pytest.mark.parametrize("path", EXERCISES, ids=name)
def test_exercises_carry_no_outputs(path):
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(path))
