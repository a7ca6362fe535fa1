"""Which template a kernel is forked from, and what a template refuses."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course_lib.grading import templates

if sys.platform.startswith("linux"):
    from course_lib.grading import isolation

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="templates need Linux")


class Fake:
    """A template without a process."""

    made: list[Fake]
    problem = None

    def __init__(self, modules, files):
        self.modules, self.closed, self.alive = modules, False, True
        self.address = f"\0{len(self.made)}"
        self.made.append(self)

    def is_alive(self):
        return self.alive

    def close(self):
        self.closed = True


@pytest.fixture
def made(monkeypatch):
    Fake.made = []
    monkeypatch.setattr(templates, "Template", Fake)
    monkeypatch.setattr(templates, "available", lambda: True)
    kept = templates._templates.__dict__.pop("kept", None)
    yield Fake.made
    templates._templates.__dict__.pop("kept", None)
    if kept is not None:
        templates._templates.kept = kept


def notebook(*learned):
    own = [new_code_cell("import probe_runtime", id="start"), new_code_cell("from torch import nn", id="pristine-0")]
    return new_notebook(cells=[*own, *(new_code_cell(source, id="answer-03-1") for source in learned)])


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.py").write_text("A = 1\n")
    return {"course_lib/learning/exercises/lesson_03/playground.py": tmp_path / "a.py"}


def test_nothing_of_a_learner_says_what_is_imported(files):
    wanted = ["probe_runtime", "torch", "course_lib.learning.exercises.lesson_03.playground"]
    assert templates.preloaded(notebook("import antigravity"), files) == wanted
    assert templates.preloaded(notebook("this is (no Python"), files) == wanted


def test_submissions_of_an_exercise_share_a_template(made, files):
    first = templates.address(notebook("x = 1"), files)
    assert templates.address(notebook("y = 2"), files) == first and len(made) == 1


def test_another_content_has_another_template_and_the_oldest_ends(made, files, tmp_path):
    addresses = []
    for number in range(templates.KEPT + 1):
        (tmp_path / "a.py").write_text(f"A = {number}\n")
        addresses.append(templates.address(notebook(), files))
    assert len(set(addresses)) == templates.KEPT + 1
    assert [one.closed for one in made] == [True] + [False] * templates.KEPT
    templates.close_all()
    assert all(one.closed for one in made)


def test_one_that_ended_is_started_again(made, files):
    first = templates.address(notebook(), files)
    made[0].alive = False
    assert templates.address(notebook(), files) != first
    assert made[0].closed


def test_where_it_does_not_work_there_is_none(made, files, monkeypatch):
    monkeypatch.setattr(Fake, "problem", "no namespaces")
    assert templates.address(notebook(), files) is None
    assert templates.address(notebook(), files) is None and len(made) == 1


def test_it_can_be_switched_off(monkeypatch, files):
    monkeypatch.setenv("COURSE_KERNEL_TEMPLATE", "0")
    assert templates.address(notebook(), files) is None


@linux
def test_a_process_that_shares_its_namespaces_is_not_isolated():
    with pytest.raises(isolation.IsolationError, match=r"shared namespaces.*'mnt'.*'pid'.*'net'"):
        isolation.require_isolated(isolation.namespaces(), None, [])


@linux
def test_descriptors_that_are_left_are_named():
    outer = dict.fromkeys(isolation.CLONE, "another")
    with open(os.devnull), pytest.raises(isolation.IsolationError) as raised:
        isolation.require_isolated(outer, None, [])
    assert "shared namespaces" not in str(raised.value) and "descriptors" in str(raised.value)


@linux
def test_memory_that_a_child_would_share_is_found():
    code = "import mmap\nfrom course_lib.grading import isolation\nassert not isolation.shared_memory()\n"
    code += "memory = mmap.mmap(-1, 4096)\nassert isolation.shared_memory()"
    subprocess.run([sys.executable, "-c", code], check=True)


@linux
def test_only_the_named_descriptors_stay_open():
    code = """
import os
from course_lib.grading import isolation
kept, closed = os.pipe()
isolation.close_all_but([kept])
os.fstat(kept)
try:
    os.fstat(closed)
except OSError:
    os._exit(0 if os.fstat(0) and os.fstat(2) else 2)
os._exit(1)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
