"""Who pays when something breaks: the question that broke it, and nobody else; and how plain values are judged."""

from __future__ import annotations

import json

import pytest

from course_lib.grading import building, nbval_run, probe_runtime, probes, verdict
from course_lib.grading.assignment import Assignment


@pytest.fixture(scope="module")
def assignment():
    (solution,) = building.SOLUTIONS.glob("01_*.ipynb")
    return Assignment(solution)


@pytest.fixture(scope="module")
def references(assignment, tmp_path_factory):
    return probes.references(assignment, b"a key", tmp_path_factory.mktemp("state"), pool=1)[0]


def test_a_comparison_that_ends_without_a_report_costs_the_question_that_ended_it(assignment, references, monkeypatch):
    """Pretended: whoever runs 01.2 takes the comparing process down; all others would pass."""

    def run(notebook, files, *, level, limits=None):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        if any("bad" in cell.source for cell in code):
            return nbval_run.Run({}, "the comparison ended with status -6")
        entry = {"passed": True, "kernel": "alive", "error": None, "message": None, "output": "", "report": None}
        return nbval_run.Run(dict.fromkeys(range(len(code)), entry))

    monkeypatch.setattr(nbval_run, "run", run)
    answers = {"01.1": "good = 1", "01.2": "bad = 1", "01.4": "good = 2"}
    verdicts = verdict.decide(assignment, answers, references, {}, level="bwrap")
    assert {id: found.status for id, found in verdicts.items()} == {
        "01.1": "passed", "01.2": "stopped", "01.4": "passed",
    }  # fmt: skip


def test_a_kernel_that_ends_late_costs_the_question_that_ended_it(assignment, references, monkeypatch):
    """Pretended: 01.1 has the kernel end a moment later, when 01.2 is running, which would be right."""

    def run(notebook, files, *, level, limits=None):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        bad = any("bad" in cell.source for cell in code)
        entries = {}
        for number, cell in enumerate(code):
            dead = bad and number >= [one.id for one in code].index("answer-01-2")
            entries[number] = {
                "passed": not dead and cell.id != "probe-01-1", "kernel": "dead" if dead else "alive", "error": None,
                "message": None, "output": "", "report": "",
            }  # fmt: skip
        return nbval_run.Run(entries)

    monkeypatch.setattr(nbval_run, "run", run)
    verdicts = verdict.decide(assignment, {"01.1": "bad = 1", "01.2": "good = 1"}, references, {}, level="bwrap")
    assert {id: found.status for id, found in verdicts.items()} == {"01.1": "wrong", "01.2": "passed"}


def printed(value):
    return json.dumps(probe_runtime.tagged(value))


def solution_of(assignment, question):
    namespace: dict = {}
    exec(assignment.solution.cells[assignment.places[question].answer].source, namespace)
    return namespace[assignment.questions[question].name]()


def test_a_plain_value_is_judged_in_a_process_of_its_own(assignment, references):
    right = printed(solution_of(assignment, "01.3"))
    assert probes.judge_apart(assignment, "01.3", right, references["01.3"])
    for wrong in (printed(["Z", "Z"]), "", "[", "9" * 20_000, printed({"a": "b"})):
        assert not probes.judge_apart(assignment, "01.3", wrong, references["01.3"])


def test_a_value_that_makes_the_probe_compute_for_ever_earns_nothing(assignment, references, monkeypatch):
    monkeypatch.setattr(probes, "JUDGE_SECONDS", 0.0)
    right = printed(solution_of(assignment, "01.3"))
    assert not probes.judge_apart(assignment, "01.3", right, references["01.3"])
    monkeypatch.setattr(probes, "JUDGE_SECONDS", 120)
    assert probes.judge_apart(assignment, "01.3", right, references["01.3"])
