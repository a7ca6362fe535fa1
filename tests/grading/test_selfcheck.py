"""`course check`: the program of the grader, points of every question, and a reason for each that is missing."""

import nbformat
import pytest

from benchmarks.grading_variations import Learner, right
from course_lib.grading import selfcheck


def checked(learner, folder, **options):
    path = folder / "03.ipynb"
    path.write_text(learner.text(), encoding="utf-8")
    (result,) = selfcheck.check([path], **options)
    return result


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One notebook with most of what happens to learners."""
    learner = Learner("03")
    learner.add("def size_of(weight):\n    return weight.abs()", before="answer-03-1")
    learner.add("print(size_of(torch.ones(2)))", before="answer-03-1")
    learner.cell("cell-01").source += "\nimport numpy as np"
    learner.answer("03.1", right("03.1").replace("weight.abs()", "size_of(weight)"))
    learner.answer("03.2", "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\n" + right("03.2"))
    learner.answer("03.3", "def cubic_sparsity(step, total_steps, initial, final):\n    return np.clip(step, 0, 1)")
    learner.answer("03.4", "def storage_facts(weight)\n    return {}")
    learner.answer("03.6", "def layer_sparsities():\n    return [0.9, 0.9, 0.9]")
    folder = tmp_path_factory.mktemp("learner")
    (folder / "conftest.py").write_text("raise SystemExit(0)")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --collect-only")
    return checked(learner, folder)


def test_helper_cells_and_changed_settings_of_torch_cost_no_points(mixed):
    assert [(entry.points, entry.status) for entry in mixed.questions] == [
        (4, "passed"), (3, "passed"), (0, "failed"), (0, "failed"), (0, "failed"), (0, "failed"),
    ]  # fmt: skip
    assert (mixed.points, mixed.max_points, mixed.complete) == (7, 20, False)


def test_a_name_that_is_missing_is_told_with_the_advice(mixed):
    message = mixed.questions[2].message
    assert "`np` is not defined when this answer runs: it is defined in cell 2, which belongs to the exer" in message
    assert "Define it in the answer or in a cell of its own" in message


def test_a_learner_is_told_her_own_error(mixed):
    assert mixed.questions[3].message.startswith("SyntaxError: expected ':'")
    assert mixed.questions[4].message.startswith("It needs your `cubic_sparsity` (03.3), which is not right yet.")
    assert "validation accuracy" in mixed.questions[5].message and mixed.questions[5].hint


def test_cells_that_are_no_part_of_the_program_are_noted(mixed):
    assert mixed.problems == [
        "cell 2 belongs to the exercise and was changed; it is run as it was handed out",
        "cell 6 is left out: line 1 computes something; an added cell may hold only imports, functions, classes "
        "and constants",
    ]


def test_the_report_has_one_line_for_each_question(mixed):
    first, *rest = selfcheck.summary([mixed]).splitlines()
    assert first == "03.ipynb: 7 of 20 points"
    starts = [line.split()[0] for line in rest if line.strip()[:2].isdigit()]
    assert starts == [f"03.{number}" for number in range(1, 7)]


def test_a_message_that_begins_with_a_number_does_not_look_like_the_line_of_a_question():
    question = selfcheck.QuestionResult("03.1", "A mask", 0, 4, "failed", "03.1 is wrong\n3 cells")
    text = selfcheck.summary([selfcheck.NotebookResult("03.ipynb", [question])])
    assert text.splitlines()[2:] == ["         question 03.1 is wrong", "         3 cells"]


def test_deleted_and_split_cells_are_listed_with_a_reason_and_the_total_stays(tmp_path):
    learner = Learner("03", solved=False)
    learner.remove("answer-03-1")
    learner.remove("check-03-2")
    learner.answer("03.3", "def cubic_sparsity(step, total_steps, initial, final):")
    learner.copy("answer-03-3", "    return final")
    result = checked(learner, tmp_path)
    assert [entry.message for entry in result.questions[:3]] == [
        "Its answer cell is missing; copy it back from the exercise.",
        "Its check cell is missing; copy it back from the exercise.",
        "2 different cells claim to be its answer; keep one of them.",
    ]
    assert selfcheck.summary([result]).startswith("03.ipynb: 0 of 20 points") and len(result.questions) == 6


def test_an_endless_loop_costs_its_question_and_the_next_ones_are_judged(tmp_path):
    learner = Learner("03", solved=False)
    learner.answer("03.1", right("03.1") + "\nwhile True:\n    pass")
    learner.answer("03.3", right("03.3"))
    result = checked(learner, tmp_path, cell_timeout=6)
    assert result.questions[0].message.startswith("it took too long") and result.questions[0].points == 0
    assert result.questions[2].points == 2 and result.points == 2


def test_what_a_wrong_answer_should_be_is_said_and_the_learners_folder_is_not_touched(tmp_path):
    learner = Learner("03", solved=False)
    learner.answer("03.4", right("03.4").replace("+ 1", "+ 2"))
    path = tmp_path / "03.ipynb"
    result = checked(learner, tmp_path)
    assert "break_even" in result.questions[3].message and result.questions[3].status == "failed"
    assert {entry.status for entry in result.questions} == {"failed", "not attempted"}
    assert path.read_text() == learner.text() and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "problem"),
    [("{}", "no format number"), ('{"nbformat": 3}', "save it as format 4"), (None, "No such file")],
)
def test_what_cannot_be_read_is_a_problem_not_a_crash(tmp_path, content, problem):
    path = tmp_path / "notes.ipynb"
    if content is not None:
        path.write_text(content)
    result = selfcheck.check([path])[0]
    assert problem in result.problems[0] and result.max_points == 0 and not result.complete


def test_a_notebook_without_questions_says_so(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "empty.ipynb")
    assert "no question found" in selfcheck.check([tmp_path / "empty.ipynb"])[0].problems[0]
