"""Hostile answers to question 01.1, graded beside a right answer to 01.4 that must keep its points."""

from __future__ import annotations

import textwrap
import time
from dataclasses import replace

import pytest

from course_lib.grading import building, grade, probes, sandbox
from course_lib.grading.assignment import Assignment

KEY = b"the secret of these tests"
TARGET, BYSTANDER = "01.1", "01.4"
LIMITS = sandbox.Limits(question_seconds=15, notebook_seconds=150, memory_mb=1536, output_kb=512, scratch_mb=64)
SHORT = replace(LIMITS, question_seconds=6)  # for what runs into the limit; an import of torch fits in it
PATIENCE = 400
WRONG = "\ndef dense_bytes(shapes, dtype):\n    return 0\n"


class Grader:
    """Grades one answer to the target question in the real sandbox."""

    def __init__(self, folder):
        (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
        self.assignment = Assignment(solution)
        self.references = probes.references(self.assignment, KEY, folder / "state", pool=1)[0]
        (folder / "library").mkdir()
        (folder / "library").chmod(0o755)
        self.files = self.assignment.stage(folder / "library")

    def right(self, question):
        return self.assignment.solution.cells[self.assignment.places[question].answer].source

    def decide(self, answers, limits=LIMITS, level="bwrap"):
        return grade.decide(self.assignment, answers, self.references, self.files, level=level, limits=limits)

    def attack(self, source, limits=LIMITS):
        """The verdict on a hostile answer; a right answer to another question must not suffer from it."""
        begin = time.monotonic()
        verdicts = self.decide({TARGET: textwrap.dedent(source), BYSTANDER: self.right(BYSTANDER)}, limits)
        assert time.monotonic() - begin < PATIENCE
        assert verdicts[BYSTANDER].passed, verdicts[BYSTANDER]
        return verdicts[TARGET]


@pytest.fixture(scope="session")
def grader(tmp_path_factory):
    sandbox.require("bwrap")  # without a sandbox these tests fail, they are not skipped
    folder = tmp_path_factory.mktemp("grader")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    return Grader(folder)
