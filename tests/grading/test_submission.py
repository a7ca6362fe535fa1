"""The program in a notebook: answers, helper cells, and what is named because it is no part of it."""

import json

import pytest

from benchmarks.grading_variations import Learner, right
from course_lib.grading import submission
from course_lib.grading.assignment import Exercise


def taken(learner):
    content = submission.parse(learner.text().encode())
    lesson = submission.lesson(content)
    return submission.extract(content, Exercise.of_lesson(lesson))


def source_of_program(learner):
    content = submission.parse(learner.text().encode())
    exercise = Exercise.of_lesson(submission.lesson(content))
    found = submission.extract(content, exercise)
    return [cell.source for cell in exercise.program(found.answers, {}, found.helpers).cells]


@pytest.fixture
def learner():
    return Learner("03")


def test_a_helper_cell_stands_in_the_program_where_it_stands_in_the_notebook(learner):
    learner.add("def mine(x):\n    return x", before="answer-03-1")
    learner.add("LIMIT = 3", before="check-03-2")
    program = source_of_program(learner)
    answers = [program.index(right(f"03.{number}")) for number in (1, 2, 3)]
    assert program.index("def mine(x):\n    return x") < answers[0]
    assert answers[1] < program.index("LIMIT = 3") < answers[2]


def test_any_other_added_cell_is_left_out_and_named(learner):
    number = learner.add("found = magnitude_mask(torch.ones(3), 0.5)", before="answer-03-2")
    found = taken(learner)
    assert found.helpers == () and found.notes == (
        f"cell {number} is left out: line 1 computes something; {submission.RULE}",
    )
    assert found.elsewhere["found"] == f"cell {number}, which is left out"


def test_a_changed_cell_of_the_exercise_is_restored_and_its_names_are_known(learner):
    learner.cell("cell-01").source += "\nimport numpy as np"
    learner.cell("check-03-1").source = "print('right')"
    found, program = taken(learner), source_of_program(learner)
    assert not any("numpy" in source or "right'" in source for source in program)
    assert [note.split(" and ")[0] for note in found.notes] == [
        "cell 2 belongs to the exercise",
        "cell 6 belongs to the exercise",
    ]
    assert "cell 2, which belongs to the exercise" in found.elsewhere["np"] and found.findings == {}


def test_trying_other_numbers_in_a_cell_of_the_exercise_is_no_change_of_the_program(learner):
    learner.cell("cell-25").source = "try_sparsities((0.9, 0.9, 0.1))"
    assert taken(learner).notes == ()


def test_copies_count_as_one_and_different_ones_cost_their_question(learner):
    learner.copy("answer-03-1")
    learner.copy("answer-03-2", "def global_masks(weights, sparsity):\n    return {}")
    learner.copy("answer-03-3", "")
    found = taken(learner)
    assert found.answers["03.1"] == right("03.1") and found.answers["03.3"] == right("03.3")
    assert found.findings == {"03.2": "2 different cells claim to be its answer; keep one of them."}


def test_a_missing_answer_or_check_costs_its_question(learner):
    learner.remove("answer-03-1")
    learner.remove("check-03-4")
    assert taken(learner).findings == {
        "03.1": "Its answer cell is missing; copy it back from the exercise.",
        "03.4": "Its check cell is missing; copy it back from the exercise.",
    }


@pytest.mark.parametrize("ids", [False, True])
def test_lost_metadata_costs_nothing(learner, ids):
    """The cell ids tell which cell is which, or the functions that the cells define."""
    learner.strip(ids=ids)
    found = taken(learner)
    assert found.answers == {question: right(question) for question in learner.questions}
    assert (found.findings, found.helpers, found.notes) == ({}, (), ())


def test_a_stub_that_was_kept_in_a_cell_of_its_own_replaces_no_answer(learner):
    learner.add(Learner("03", solved=False).cell("answer-03-1").source, before="check-03-1")
    assert taken(learner).helpers == ()


def test_a_helper_cell_that_is_too_long_is_left_out(learner):
    learner.add("x = 1\n" * 10_000, before="answer-03-1")
    assert "60,000 characters; 20,000 are allowed" in taken(learner).notes[0]


def test_a_notebook_without_any_known_cell_has_no_lesson():
    cells = [{"cell_type": "code", "source": "x = 1", "metadata": {}}, {"cell_type": "markdown", "source": "y"}]
    content = submission.parse(json.dumps({"nbformat": 4, "cells": cells}).encode())
    assert submission.lesson(content) is None
