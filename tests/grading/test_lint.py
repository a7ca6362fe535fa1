"""Every rule of the lint is broken once."""

from types import SimpleNamespace

import nbformat
import pytest

from course_lib.grading.building import exercise
from course_lib.grading.lint import LintError, lint, solution_regions

QUESTIONS = [f"99.{number}" for number in range(1, 5)]


def registry(**changes):
    entry = {"probe": print, "points": 5, "hints": ("think", "think more", "nearly")} | changes
    return {question: SimpleNamespace(**entry) for question in QUESTIONS}


def answers(wrong=5, right=2):
    some = SimpleNamespace(wrong=dict.fromkeys(map(str, range(wrong))), right=dict.fromkeys(map(str, range(right))))
    return dict.fromkeys(QUESTIONS, some)


def problems(solution, made=None, registered=None, tried=None):
    return "\n".join(lint(solution, made or exercise(solution), registered or registry(), tried or answers()))


def test_a_good_exercise_has_no_problems(solution):
    assert problems(solution) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cells: cells[4].metadata.nbgrader.update(points=0), "question 99.1 has no points"),
        (lambda cells: cells[4].metadata.nbgrader.update(points=6), "add up to 20, these to 21"),
        (lambda cells: cells.pop(4), "question 99.1 needs exactly one answer cell and one check cell"),
        (lambda cells: cells.__delitem__(slice(3, 6)), "4 to 7 questions, this one has 3"),
        (lambda cells: cells.insert(3, cells.pop(4)), "99.1 has its check before its answer"),
        (lambda cells: cells[4].update(source="pass"), 'must end with check("99.1", double_1)'),
        (lambda cells: cells[4].update(source='check("99.2", double_1)'), 'must end with check("99.1", double_1)'),
        (lambda cells: cells[3].update(source="x = 1"), "the answer cell of 99.1 has no BEGIN SOLUTION region"),
        (lambda cells: cells[4].metadata.nbgrader.update(grade_id="check-98-1"), "question 98.1 needs exactly one"),
    ],
)
def test_a_broken_rule_is_named(solution, change, message):
    change(solution.cells)
    assert message in problems(solution)


@pytest.mark.parametrize(
    ("registered", "tried", "message"),
    [
        ({"99.1": None}, None, "question 99.1 has no check in"),
        (registry(probe=None), None, "question 99.1 has no probe"),
        (registry(points=4), None, "4 points in its check and 5 in the notebook"),
        (registry(hints=("a", "b")), None, "needs exactly 3 hints, it has 2"),
        (registry(hints=("a", "b", "c: return value + value  # secret of question 1")), None, "gives a line"),
        (None, answers(wrong=4), "99.1 needs 5 wrong answers, it has 4"),
        (None, answers(right=1), "99.1 needs 2 other right answers, it has 1"),
        (None, {"99.9": None}, "question 99.1 has no wrong and right answers"),
    ],
)
def test_what_belongs_to_a_question_is_complete(solution, registered, tried, message):
    assert message in problems(solution, registered=registered, tried=tried)


def test_a_solution_line_in_another_cell_is_a_leak(solution):
    solution.cells[1].source += "\nreturn value + value  # secret of question 2"
    assert "occurs in the exercise" in problems(solution)


@pytest.mark.parametrize("module", ["lesson_04.reference", "lesson_04.questions", "lesson_04", "small_network"])
def test_a_notebook_imports_from_a_playground_only(solution, module):
    solution.cells[1].source = "from course_lib.learning.exercises.lesson_04.playground import ResidualNet"
    assert "playground" not in problems(solution)
    solution.cells[1].source = f"from course_lib.learning.exercises.{module} import ResidualNet"
    assert "imports from the playground of a lesson only, not from course_lib.learning.exercises" in problems(solution)


def test_markers_and_outputs_left_in_the_exercise_are_found(solution):
    made = exercise(solution)
    made.cells[3].source += "\n### END SOLUTION"
    made.cells[4].outputs = [nbformat.v4.new_output("stream", text="x")]
    found = problems(solution, made)
    assert "the marker 'END SOLUTION' is left" in found and "the exercise has outputs" in found


def test_an_exercise_without_a_stub_is_found(solution):
    made = exercise(solution)
    made.cells[3].source = "def double_1(value): ..."
    assert "the answer cell of 99.1 has no stub" in problems(solution, made)


def test_hidden_tests_count_as_solution(solution):
    solution.cells[4].source = "### BEGIN HIDDEN TESTS\nassert double_1(3) == 6\n### END HIDDEN TESTS\n"
    assert solution_regions(solution.cells[4]) == [["assert double_1(3) == 6"]]


def test_the_error_lists_every_problem():
    assert str(LintError("03.ipynb", ["one", "two"])) == "03.ipynb breaks 2 rule(s):\n  - one\n  - two"
