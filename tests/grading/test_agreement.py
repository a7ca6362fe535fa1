"""Check and grade run the same program and give the same points, however a learner changes her notebook.

``benchmarks/grading_agreement.py`` does it with 300 notebooks in real kernels, without and with the sandbox.
"""

from __future__ import annotations

import json

import grading_variations
import pytest

from course_lib.grading import building, cells, grade, nbval_run, own_run, sandbox, selfcheck, submission
from course_lib.grading.assignment import Assignment, Exercise
from course_lib.grading.settings import Settings
from tests.grading import forked_kernel

LESSONS = grading_variations.LESSONS
EVERY = 300
SEEDS = range(0, 30 * len(LESSONS), len(LESSONS))  # all of lesson 01, whose questions need no model


@pytest.fixture(scope="module")
def exercises():
    """Lesson → the exercise as check knows it, and as grade does."""
    files = {lesson: next(building.SOLUTIONS.glob(f"{lesson}_*.ipynb")) for lesson in LESSONS}
    return {lesson: (Exercise.of_lesson(lesson), Assignment(file)) for lesson, file in files.items()}


def test_both_take_the_same_program_from_every_notebook(exercises):
    for seed in range(EVERY):
        learner, changes = grading_variations.variation(seed)
        content = submission.parse(learner.text().encode())
        programs = []
        for exercise in exercises[submission.lesson(content)]:
            taken = submission.extract(content, exercise)
            program = exercise.program(taken.answers, {}, taken.helpers)
            programs.append(([(cell.id, cell.source) for cell in program.cells], taken.findings, taken.notes))
        assert programs[0] == programs[1], (seed, changes)
        assert any(cells.question_of(id) for id, _ in programs[0][0])


def test_the_variations_are_many_and_the_same_every_time():
    texts = [grading_variations.variation(seed)[0].text() for seed in SEEDS]
    assert len(set(texts)) == len(texts) == 30
    assert json.loads(texts[0]) == json.loads(grading_variations.variation(SEEDS[0])[0].text())
    used = {name for seed in range(EVERY) for name in grading_variations.variation(seed)[1].split(", ")}
    assert used == set(grading_variations.CHANGES)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agreement")
    return Settings(str(folder / "out"), str(folder / "state"), pool=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_both_give_the_same_points(seed, exercises, settings, tmp_path, monkeypatch):
    learner, changes = grading_variations.variation(seed)
    path = tmp_path / "01.ipynb"
    path.write_text(learner.text(), encoding="utf-8")
    monkeypatch.setattr(own_run, "run", forked_kernel.run)
    monkeypatch.setattr(nbval_run, "run", forked_kernel.run)
    (checked,) = selfcheck.check([path])
    assignment = exercises["01"][1]
    taken = submission.extract(submission.parse(path.read_bytes()), assignment)
    references = settings.references(assignment)[0]
    graded = grade.judge(assignment, taken, references, {}, level="bwrap", limits=sandbox.Limits())
    points = {id: asked.points * graded.verdicts[id].passed for id, asked in assignment.questions.items()}
    assert {one.question: one.points for one in checked.questions} == points, changes
    assert checked.problems == list(graded.notes), changes
