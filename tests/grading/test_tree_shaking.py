"""What the sandbox sees of the exercise modules: the probes and what they need, no check, no reference answer."""

import pytest

from course_lib.grading import building, tree_shaking
from course_lib.grading.assignment import Assignment

EXERCISE = """
from __future__ import annotations
import math, random
from course_lib.learning.exercises.lesson_99.cases import answer_it, inputs
from course_lib.learning.questions import probe, question

FACTOR, OFFSET = 3, 4
UNUSED = answer_it

@question("99.1", points=1)
def check_it(answer):
    assert answer(1) == answer_it(1)

@probe("99.1")
def probe_it(answer, generator):
    return [helper(answer(value)) for value in inputs(generator)]

def helper(value):
    return math.floor(value * FACTOR)
"""
CASES = """
import torch

def inputs(generator):
    return torch.rand(3, generator=generator).tolist()

def answer_it(value):
    return value + 1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lesson_99").mkdir()
    (tmp_path / "lesson_99" / "questions.py").write_text(EXERCISE)
    (tmp_path / "lesson_99" / "cases.py").write_text(CASES)
    return tmp_path


def test_probes_are_found_without_importing_anything(folder):
    assert tree_shaking.probes(folder, "99") == {"99.1": "probe_it"}


def test_only_what_a_probe_needs_is_kept(folder):
    kept = tree_shaking.shake(folder, {"lesson_99.questions": ["probe_it"]}, secrets={"answer_it"})
    assert set(kept) == {"lesson_99.questions", "lesson_99.cases"}
    assert "answer_it" not in kept["lesson_99.questions"] + kept["lesson_99.cases"]
    assert "check_it" not in kept["lesson_99.questions"] and "@" not in kept["lesson_99.questions"]
    assert "FACTOR" in kept["lesson_99.questions"] and "random" not in kept["lesson_99.questions"]


def test_what_is_kept_runs(folder, monkeypatch):
    import sys
    import types

    kept = tree_shaking.shake(folder, {"lesson_99.questions": ["probe_it"]}, secrets={"answer_it"})
    cases = types.ModuleType("lesson_99.cases")
    exec(kept["lesson_99.cases"], cases.__dict__)
    monkeypatch.setitem(sys.modules, f"{tree_shaking.PACKAGE}.lesson_99.cases", cases)
    namespace: dict = {}
    exec(kept["lesson_99.questions"], namespace)
    import torch

    assert len(namespace["probe_it"](lambda value: value, torch.Generator().manual_seed(0))) == 3


def test_a_probe_that_needs_a_reference_answer_is_refused(folder):
    (folder / "lesson_99" / "questions.py").write_text(
        EXERCISE.replace("math.floor(value * FACTOR)", "answer_it(value)")
    )
    with pytest.raises(tree_shaking.ShakeError, match="answer_it is a reference answer"):
        tree_shaking.shake(folder, {"lesson_99.questions": ["probe_it"]}, secrets={"answer_it"})


def test_a_name_that_is_not_there_is_an_error(folder):
    with pytest.raises(tree_shaking.ShakeError, match="has no 'nothing'"):
        tree_shaking.shake(folder, {"lesson_99.questions": ["nothing"]})


def test_a_whole_module_can_be_wanted(folder):
    kept = tree_shaking.shake(folder, {"lesson_99.cases": ["*"]})
    assert "def answer_it" in kept["lesson_99.cases"] and "def inputs" in kept["lesson_99.cases"]


@pytest.mark.parametrize("lesson", ["03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13"])
def test_the_room_that_an_exercise_rebuilds_is_not_in_its_sandbox(lesson, tmp_path):
    """In its place stands one file, which refuses to be imported."""
    (path,) = building.SOLUTIONS.glob(f"{lesson}_*.ipynb")
    rooms = {"quantization", "distillation", "lowrank", "pruning", "coding", "search"}
    staged = Assignment(path).stage(tmp_path)
    inside = {name: file.read_text() for name, file in staged.items() if "/" in name and name.split("/")[1] in rooms}
    assert set(inside) == {f"course_lib/{room}/__init__.py" for room in rooms}
    for name, source in inside.items():
        with pytest.raises(ImportError, match=f"course_lib.{name.split('/')[1]} is not here"):
            exec(compile(source, name, "exec"), {})


def test_the_module_of_the_reference_answers_is_never_kept(folder):
    (folder / "lesson_99" / "reference.py").write_text("def helper_of_the_answer():\n    return 1\n")
    with pytest.raises(tree_shaking.ShakeError, match="is a reference answer"):
        tree_shaking.shake(folder, {"lesson_99.reference": ["helper_of_the_answer"]})


def test_a_module_that_does_not_exist_is_an_error(folder):
    with pytest.raises(tree_shaking.ShakeError, match=r"no exercise module lesson_99\.nothing"):
        tree_shaking.shake(folder, {"lesson_99.nothing": ["x"]})


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from course_lib.learning.exercises.lesson_99.cases import inputs", {"lesson_99.cases": {"inputs"}}),
        ("from course_lib.learning.exercises.lesson_99 import cases as c", {"lesson_99.cases": {"*"}}),
        ("import course_lib.learning.exercises.lesson_99.cases", {"lesson_99.cases": {"*"}}),
        ("from course_lib.learning.exercises import lesson_99", {"lesson_99": {"*"}}),
        ("%pip install x\nfrom course_lib.learning import check", {}),
    ],
)
def test_every_form_of_import_is_found(line, found):
    from nbformat.v4 import new_code_cell, new_notebook

    assert tree_shaking.imported(new_notebook(cells=[new_code_cell(line)])) == found
