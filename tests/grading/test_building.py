"""Exercises come from solutions, the same bytes every time, with nothing of the solution in them."""

import nbformat
import pytest

from course_lib.grading import building, cells


def test_solutions_outputs_and_foreign_metadata_are_taken_out(solution):
    solution.cells[1].outputs = [nbformat.v4.new_output("stream", text="4")]
    solution.cells[1].metadata["collapsed"] = True
    made = building.exercise(solution)
    text = building.exercise_text(solution)
    assert "secret of question" not in text and "SOLUTION" not in text
    assert made.cells[1].outputs == [] and "collapsed" not in made.cells[1].metadata
    assert made.metadata == {"kernelspec": building.KERNELSPEC}


def test_the_answer_cell_becomes_a_stub_under_its_own_docstring(solution):
    made = building.exercise(solution)
    assert made.cells[3].source.endswith("raise NotImplementedError()")
    assert '"""Twice the value."""' in made.cells[3].source


def test_check_cells_are_locked_and_carry_a_checksum(solution):
    check = building.exercise(solution).cells[4].metadata
    assert check.editable is False and check.deletable is False and len(check.nbgrader.checksum) == 32


def test_the_same_solution_gives_the_same_bytes_whatever_its_cell_ids(solution):
    first = building.exercise_text(solution)
    for number, cell in enumerate(solution.cells):
        cell["id"] = f"other-{number}"
    assert building.exercise_text(solution) == first


def test_building_leaves_the_solution_as_it_was(solution):
    before = nbformat.writes(solution)
    building.exercise(solution)
    assert nbformat.writes(solution) == before


def test_nbgrader_accepts_the_metadata(solution):
    from nbgrader.nbgraderformat import MetadataValidator

    MetadataValidator().validate_nb(building.exercise(solution))


def test_build_writes_once_and_check_reports_a_drift(tmp_path, solution, monkeypatch):
    monkeypatch.setattr(building, "lint", lambda *_: [])
    source, exercises = tmp_path / "99_doubling.ipynb", tmp_path / "exercises"
    nbformat.write(solution, source)
    target = exercises / source.name
    assert building.build([source], check=True, destination=exercises) == [target] and not exercises.exists()
    assert building.build([source], destination=exercises) == [target]
    assert building.build([source], destination=exercises) == []
    target.write_text(target.read_text().replace("Doubling", "Tripling"))
    assert building.build([source], check=True, destination=exercises) == [target]


def test_the_answers_are_written_as_the_reference_of_their_lesson(tmp_path, solution, monkeypatch):
    monkeypatch.setattr(building, "lint", lambda *_: [])
    monkeypatch.setattr(building, "REFERENCES", tmp_path)
    (tmp_path / "lesson_99").mkdir()
    source, exercises, reference = (
        tmp_path / "99_doubling.ipynb",
        tmp_path / "out",
        tmp_path / "lesson_99" / "reference.py",
    )
    solution.cells[1].source = "import math, os\n" + solution.cells[1].source
    solution.cells[3].source = solution.cells[3].source.replace("value + value", "math.fsum([value, value])")
    nbformat.write(solution, source)
    assert building.build([source], check=True, destination=exercises) == [reference] and not reference.exists()
    assert building.build([source], destination=exercises) == [
        reference, tmp_path / "lesson_99" / building.PUBLISHED, exercises / source.name,
    ]  # fmt: skip
    assert "secret of question" not in (tmp_path / "lesson_99" / building.PUBLISHED).read_text()
    text = reference.read_text()
    assert "import math\n" in text and "os" not in text and "SOLUTION" not in text and "check" not in text
    namespace: dict = {}
    exec(text, namespace)
    assert [namespace[f"double_{number}"](4) for number in range(1, 5)] == [8] * 4
    reference.write_text(text + "\n# changed by hand\n")
    assert building.build([source], check=True, destination=exercises) == [reference]
    assert building.build([source], destination=exercises) == [reference] and reference.read_text() == text


def test_a_solution_that_breaks_a_rule_is_not_written(tmp_path, solution):
    source = tmp_path / "99_doubling.ipynb"
    nbformat.write(solution, source)
    with pytest.raises(building.LintError, match=r"question 99\.1 has no check"):
        building.build([source], destination=tmp_path / "exercises")
    assert not (tmp_path / "exercises").exists()


def test_nothing_to_build_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "SOLUTIONS", tmp_path)
    with pytest.raises(FileNotFoundError, match="no solution notebooks"):
        building.build()


def test_questions_are_found_by_their_grade_ids_and_duplicates_are_not(solution):
    found = cells.questions(solution)
    assert list(found) == ["99.1", "99.2", "99.3", "99.4"]
    assert (found["99.2"].answer, found["99.2"].check, found["99.2"].points) == (6, 7, 5)
    solution.cells.append(nbformat.from_dict(dict(solution.cells[3])))
    assert "99.1" not in cells.questions(solution)


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000, '{"nbformat": 3, "worksheets": []}', "\udcff"])
def test_a_file_that_is_no_notebook_is_named(tmp_path, content):
    path = tmp_path / "broken.ipynb"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"broken\.ipynb"):
        cells.read(path)


def test_nbgrader_itself_validates_a_built_exercise_as_unanswered(tmp_path, solution, monkeypatch):
    from nbgrader.validator import Validator

    monkeypatch.setenv("PYTHONPATH", str(building.ROOT))
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    path = tmp_path / "99_doubling.ipynb"
    path.write_text(building.exercise_text(solution))
    failed = Validator().validate(str(path))["failed"]
    assert len(failed) == 4 and all("not attempted" in cell["error"] for cell in failed)
