"""Attacks that worked on other graders: each earned points with ``return 0``, or ran code outside.

nbgrader 0.9.6 (tags, an AST transformer, an ``int`` that equals everything, a kernel that writes into the gradebook),
otter 7.0.0 (a patched checker, a pickle of the learner's), gradescope-utils (a patched framework, a results file),
and nbval alone (tracebacks switched off, a conftest beside the notebook, an unknown magic).
"""

from __future__ import annotations

import ast
import json
import pickle
import shutil
from dataclasses import replace

import pytest

from course_lib.grading import batch, building, classroom
from course_lib.grading.settings import Settings
from tests.hostile.conftest import LIMITS, WRONG

RETURNS_0 = WRONG.strip() + "\n"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a run without a cluster."""
    folder = tmp_path_factory.mktemp("class")
    (folder / "solutions").mkdir()
    (source,) = building.SOLUTIONS.glob("01_*.ipynb")
    shutil.copy(source, folder / "solutions")
    return Settings(
        str(folder / "out"), str(folder / "state"), str(folder / "solutions"), pool=1, limits=replace(LIMITS)
    )


@pytest.fixture
def hand_in(tmp_path, settings):
    """Grades an exercise with a wrong answer to 01.1, after ``change`` has altered notebook and folder."""
    (source,) = building.SOLUTIONS.glob("01_*.ipynb")

    def run(change, answer=RETURNS_0):
        content = json.loads(building.exercise_text(building.cells.read(source)))
        folder = tmp_path / "submitted" / "mallory"
        folder.mkdir(parents=True)
        cell(content, "answer-01-1")["source"] = answer
        change(content, folder)
        (folder / source.name).write_text(json.dumps(content))
        (result,) = [one for one in batch.grade([tmp_path / "submitted"], settings) if one.student == "mallory"]
        return result

    return run


def cell(content, name):
    return next(one for one in content["cells"] if one["metadata"].get("nbgrader", {}).get("grade_id") == name)


def earned(result):
    """Points of a result; a submission that was refused or set aside would prove nothing."""
    assert result.questions and not result.problem, result.problem
    return result.points


def with_tag(tag):
    def change(content, folder):
        for one in content["cells"]:
            one["metadata"].setdefault("tags", []).append(tag)

    return change


@pytest.mark.parametrize("tag", ["skip-execution", "raises-exception", "nbval-skip", "nbval-ignore-output"])
def test_nbgrader_a_tag_on_the_locked_cell(hand_in, tag):
    assert earned(hand_in(with_tag(tag))) == 0


def test_nbgrader_a_transformer_that_deletes_asserts(hand_in):
    answer = """
import ast
class Delete(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
    def visit_Raise(self, node): return ast.Pass()
    def visit_Expr(self, node): return ast.Pass()
get_ipython().ast_transformers.append(Delete())
"""
    assert earned(hand_in(lambda content, folder: None, answer + RETURNS_0)) == 0


def test_nbgrader_a_number_that_equals_everything(hand_in):
    answer = """
class Anything(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = int.__hash__
def dense_bytes(shapes, dtype):
    return Anything()
"""
    assert earned(hand_in(lambda content, folder: None, answer)) == 0


def test_nbgrader_a_kernel_that_writes_into_the_gradebook(hand_in, settings, tmp_path):
    from course_lib.grading import gradebook

    graded = hand_in(lambda content, folder: None)
    book = tmp_path / "gradebook.db"
    gradebook.record([graded], f"sqlite:///{book}")
    before = book.read_bytes()
    shutil.rmtree(tmp_path / "submitted")
    answer = f"""
import os, sqlite3
def enrich(path):
    try:
        with sqlite3.connect(path) as book:
            book.execute("UPDATE grade SET auto_score = 100, manual_score = 100")
    except (sqlite3.Error, OSError):
        pass
enrich({str(book)!r})
for top in ("/", os.path.expanduser("~"), "/tmp", {str(tmp_path)!r}):
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if name not in ("proc", "sys", "usr", "lib", "site-packages")]
        for name in files:
            if name.endswith(".db"):
                enrich(os.path.join(folder, name))
"""
    result = hand_in(lambda content, folder: None, answer + RETURNS_0)
    assert earned(result) == 0 and book.read_bytes() == before


def test_otter_a_patched_checker(hand_in):
    answer = """
import importlib
import course_lib.learning as learning
from course_lib.learning import questions
expect = importlib.import_module("course_lib.learning.expect")
questions.check = learning.check = check = lambda *args, **kwargs: None
questions._run = lambda *args: None
expect.CheckFailed.__init__ = lambda *args, **kwargs: None
for name in dir(expect):
    if name.startswith("expect"):
        setattr(expect, name, lambda *args, **kwargs: None)
"""
    assert earned(hand_in(lambda content, folder: None, answer + RETURNS_0)) == 0


def test_otter_a_pickle_that_runs_code_when_it_is_read(hand_in, tmp_path):
    class Evil:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'executed')!r}, 'w').close()",)

    evil = pickle.dumps(Evil())

    def change(content, folder):
        for name in (".OTTER_LOG", "results.pkl", "model.pt", "01_compression_calculator.pkl"):
            (folder / name).write_bytes(evil)
        content["metadata"]["otter"] = {"log": evil.hex()}

    answer = f"""
import os
evil = bytes.fromhex({evil.hex()!r})
for folder in (".", "/tmp", os.path.expanduser("~")):
    for name in (".OTTER_LOG", "results.pkl", "results.json", "report.json"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(evil)
print(evil)
display({{"application/x-python-pickle": evil.hex(), "text/plain": evil.hex()}}, raw=True)
"""
    assert earned(hand_in(change, answer + RETURNS_0)) == 0
    assert not (tmp_path / "executed").exists()


def test_otter_the_grader_unpickles_nothing():
    for file in (building.ROOT / "course_lib" / "grading").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & {"pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}, file.name


def test_gradescope_utils_a_patched_framework_and_a_results_file(hand_in):
    answer = """
import json, os, unittest
unittest.TestCase.run = lambda self, result=None: result
unittest.TestResult.wasSuccessful = lambda self: True
for name in dir(unittest.TestCase):
    if name.startswith("assert"):
        setattr(unittest.TestCase, name, lambda *args, **kwargs: None)
for folder in ("/autograder/results", "/tmp/results", ".", "results", "/course"):
    try:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "results.json"), "w") as file:
            json.dump({"score": 100, "tests": [{"score": 5, "status": "passed"}]}, file)
    except OSError:
        pass
"""

    def change(content, folder):
        (folder / "results.json").write_text('{"score": 100}')

    assert earned(hand_in(change, answer + RETURNS_0)) == 0


def test_nbval_tracebacks_are_switched_off(hand_in):
    answer = """
shell = get_ipython()
shell.showtraceback = shell._showtraceback = shell.showsyntaxerror = lambda *args, **kwargs: None
shell.run_cell_async.__func__.__defaults__
"""
    assert earned(hand_in(lambda content, folder: None, answer + RETURNS_0)) == 0


def test_nbval_a_conftest_and_settings_beside_the_notebook(hand_in, tmp_path):
    mark = tmp_path / "executed"
    code = f"import os\nopen({str(mark)!r}, 'w').close()\nos._exit(0)\n"

    def change(content, folder):
        for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "pytest.py", "json.py", "nbval.py"):
            (folder / name).write_text(code)
        (folder / "pytest.ini").write_text("[pytest]\naddopts = --collect-only -p conftest\n")
        (folder / "setup.cfg").write_text("[tool:pytest]\naddopts = --nbval-lax\n")
        (folder.parent / "conftest.py").write_text(code)

    assert earned(hand_in(change)) == 0 and not mark.exists()


@pytest.mark.parametrize("magic", ["%%no_such_magic", "%%script true", "%%capture", "%%writefile /tmp/x.py", "%%bash"])
def test_nbval_a_magic_that_is_unknown_or_swallows_the_cell(hand_in, magic):
    assert earned(hand_in(lambda content, folder: None, f"{magic}\n{RETURNS_0}")) == 0


def test_outputs_that_are_handed_in_count_for_nothing(hand_in):
    def change(content, folder):
        for one in content["cells"]:
            if one["cell_type"] == "code":
                one["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["01.1: right, 3 of 3 points"]}]
                one["execution_count"] = 7
        content["metadata"] |= {"points": 20, "nbgrader": {"score": 20}, "language_info": {"name": "python"}}

    assert earned(hand_in(change)) == 0


def test_a_kernel_of_the_learners_is_not_started(hand_in, tmp_path):
    mark = tmp_path / "executed"

    def change(content, folder):
        content["metadata"]["kernelspec"] = {"name": "mine", "display_name": "mine", "language": "python"}
        kernel = folder / "kernels" / "mine"
        kernel.mkdir(parents=True)
        argv = ["/usr/bin/touch", str(mark), "{connection_file}"]
        (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "mine", "language": "python"}))

    assert earned(hand_in(change)) == 0 and not mark.exists()


def test_an_edited_check_cell_is_not_used(hand_in):
    def change(content, folder):
        for number in range(1, 7):
            one = cell(content, f"check-01-{number}")
            one["source"] = "print('right')"
            one["metadata"]["nbgrader"] |= {"points": 100, "grade": False, "locked": False, "solution": True}

    result = hand_in(change)
    assert earned(result) == 0 and result.max_points == 20


def test_swapped_grade_ids_earn_nothing_for_what_is_not_there_yet(hand_in, settings):
    solution = building.cells.read(next(building.SOLUTIONS.glob("01_*.ipynb")))
    places = building.cells.questions(solution)

    def change(content, folder):
        for number in (1, 2, 4):
            cell(content, f"answer-01-{number}")["source"] = solution.cells[places[f"01.{number}"].answer].source
        first, second = cell(content, "answer-01-1"), cell(content, "answer-01-2")
        first["metadata"]["nbgrader"]["grade_id"], second["metadata"]["nbgrader"]["grade_id"] = (
            "answer-01-2", "answer-01-1",
        )  # fmt: skip

    result = hand_in(change)
    points = {one.question: one.points for one in result.questions}
    assert points["01.1"] == 0 and points["01.4"] > 0


def test_a_grade_id_that_stands_twice_costs_only_itself(hand_in):
    def change(content, folder):
        content["cells"].append(cell(content, "answer-01-1") | {"source": "def dense_bytes(shapes, dtype): return 1"})

    result = hand_in(change)
    assert earned(result) == 0
    assert result.questions[0].details == "2 different cells claim to be its answer; keep one of them."


def test_what_is_handed_in_can_be_graded_by_the_whole_class_run(tmp_path, monkeypatch, settings):
    """A class of nothing but hostile files ends in order: a result for each, no points, no crash."""
    monkeypatch.setenv("COURSE_GRADING_STATE", settings.state)
    folder = tmp_path / "submitted"
    contents = {"a": b"", "b": b"{" * 100_000, "c": b"\xff", "d": b'{"nbformat": 3}', "e": b"null", "f": b"[" * 10**6}
    for name, content in contents.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "01.ipynb").write_bytes(content)
    report = classroom.grade_class(
        [folder], tmp_path / "out", level="bwrap", solutions=settings.solutions, workers=1, progress=False
    )
    assert [result.student for result in report.results] == sorted(contents)
    assert all(result.problem and not result.points and not result.set_aside for result in report.results)
