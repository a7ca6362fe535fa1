"""Executing a notebook: the kernel, and every kind of failure."""

from __future__ import annotations

import sys

import nbformat
import pytest

from course_lib.notebook import runner
from course_lib.notebook.execution import execute, kernel_variables


def test_the_kernel_is_the_running_python_in_the_folder_of_the_notebook(tmp_path, lesson):
    path = lesson(tmp_path, "00_kernel", "import os, sys; print(sys.prefix, os.getcwd())")
    notebook = nbformat.read(path, as_version=4)
    assert execute(notebook, path, timeout=60).error == ""
    assert notebook.cells[-1].outputs[0].text == f"{sys.prefix} {tmp_path}\n"


def test_variables_of_the_person_come_before_the_defaults():
    variables = kernel_variables({"OMP_NUM_THREADS": "7", "COURSE_STRICT_WIDGETS": "0"})
    assert variables == {"OMP_NUM_THREADS": "7", "COURSE_PROGRESS": "memory", "COURSE_STRICT_WIDGETS": "1"}


FAILURES = {
    "a cell": ("1 / 0", "code cell 2: ZeroDivisionError: division by zero"),
    "a callback": (
        "from course_lib.widgets import Panel, slider\n"
        "panel = Panel(lambda bits: 1 / (bits - 3), str, bits=slider(8, 2, 8))\n"
        "panel.controls['bits'].value = 3",
        "code cell 2: ZeroDivisionError: division by zero",
    ),
    "an output widget": (
        "import ipywidgets\narea = ipywidgets.Output()\ndisplay(area)\nwith area: 1 / 0",
        "in a widget: ZeroDivisionError: division by zero",
    ),
    "a thread": (
        "import threading\nthread = threading.Thread(target=lambda: 1 / 0)\nthread.start(); thread.join()",
        "code cell 2: ZeroDivisionError: division by zero",
    ),
    "the kernel": ("import os; os._exit(1)", "code cell 2: the kernel died (out of memory?)"),
    "the clock": ("import time; time.sleep(60)", "code cell 2: took longer than 3 s"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_any_failure_fails_the_lesson_and_nothing_is_stored(tmp_path, lesson, what):
    source, message = FAILURES[what]
    path = lesson(tmp_path, "00_bad", "'fine'", source)
    before = path.read_text()
    result = runner.run_lesson(path, save=True, folder=tmp_path / "runs", timeout=3 if what == "the clock" else 60)
    assert (result.passed, result.error) == (False, message)
    assert path.read_text() == before and result.executed.is_file()


def test_an_expected_error_does_not_fail_the_lesson(tmp_path, lesson):
    path = lesson(tmp_path, "00_trap", "1 / 0", tags=["raises-exception"])
    assert runner.run_lesson(path, folder=tmp_path / "runs").passed
