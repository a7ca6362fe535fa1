"""A plain value is judged by the probe of its question, in a process with limits."""

from __future__ import annotations

import json
import os

import pytest

from course_lib.grading import building, fork_server, probe_runtime, probes
from course_lib.grading.assignment import Assignment

QUESTION = "01.3"


@pytest.fixture(scope="module")
def assignment():
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    return Assignment(solution)


@pytest.fixture(scope="module")
def judged(assignment, tmp_path_factory):
    """Whether a printed value is right, as the grader decides it."""
    reference = probes.references(assignment, b"a key", tmp_path_factory.mktemp("state"), pool=1)[0][QUESTION]
    facts = {"module": assignment.module, "probe": assignment.questions[QUESTION].probe, "seed": reference.seed,
             "line": reference.line, "floors": reference.floors}  # fmt: skip
    environment = {**os.environ, **probes.ENVIRONMENT}
    return lambda text: fork_server.judge({**facts, "printed": text}, reference.value, environment)


def printed(value):
    return json.dumps(probe_runtime.tagged(value))


@pytest.fixture(scope="module")
def right(assignment):
    namespace: dict = {}
    exec(assignment.solution.cells[assignment.places[QUESTION].answer].source, namespace)
    return printed(namespace[assignment.questions[QUESTION].name]())


def test_the_reference_has_the_value_of_the_solution_and_only_where_it_is_judged(assignment, right, tmp_path):
    (references,) = probes.references(assignment, b"a key", tmp_path, pool=1)
    assert references[QUESTION].value == right
    assert {id for id, one in references.items() if one.value} == {
        id for id, asked in assignment.questions.items() if asked.is_data
    }


@pytest.mark.parametrize("with_server", [True, False])
def test_a_plain_value_is_judged(judged, right, monkeypatch, with_server):
    if not with_server:
        monkeypatch.setattr(fork_server, "available", lambda: False)
    assert judged(right)
    for wrong in (printed(["Z", "Z"]), "", "[", "9" * 20_000, printed({"a": "b"})):
        assert not judged(wrong)


def test_a_value_that_makes_the_probe_compute_without_end_earns_nothing(judged, right, monkeypatch):
    monkeypatch.setattr(fork_server, "JUDGE_SECONDS", 0.0)
    assert not judged(right)
    monkeypatch.setattr(fork_server, "JUDGE_SECONDS", 120)
    assert judged(right)
