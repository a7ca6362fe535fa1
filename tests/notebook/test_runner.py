"""Lessons from the command line: what fails, what is measured, what is stored."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_lib.notebook import runner
from course_lib.notebook.clean_outputs import WIDGET_VIEW, tidy

TABLE = f"""
class Comparison:
    def __repr__(self): return "pruned 1.0x"
    def _repr_html_(self): return '<div {runner.RESULT_TABLE}></div>'
Comparison()
"""
PROGRESS = "from tqdm.auto import tqdm\nfor step in tqdm(range(3)): print(step)"
PICTURE = """
from ipywidgets import HTML
class Panel(HTML):
    def _repr_mimebundle_(self, **options):
        return super()._repr_mimebundle_(**options) | {"text/html": "<svg/>"}
display(Panel(), HTML("no fallback"))
"""


def lesson(folder, name, *sources, tags=()):
    cells = [new_markdown_cell("# A lesson")]
    cells += [new_code_cell(source.strip(), metadata={"tags": list(tags)} if tags else {}) for source in sources]
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One lesson with everything in it, executed and stored: result, path, text of the file before the last run."""
    folder = tmp_path_factory.mktemp("lessons")
    memory = "block = bytearray(200_000_000)"
    threads = "import os, sys; print(os.environ['OMP_NUM_THREADS'], os.environ['COURSE_STRICT_WIDGETS'])"
    path = lesson(folder, "03_all", threads, TABLE, PROGRESS, PICTURE, memory, "sys.prefix")
    runner.run_lesson(path, save=True, folder=folder / "runs")
    before = path.read_text()
    result = runner.run_lesson(path, save=True, folder=folder / "runs")
    return result, path, before


def test_a_passed_lesson_reports_cells_time_memory_and_its_tables(saved):
    result, _, _ = saved
    assert (result.lesson, result.cells, result.status, result.error) == ("03_all", 6, "passed", "")
    assert 0 < result.seconds < 60 and result.peak_mb > 200
    assert result.tables == ("pruned 1.0x",)
    assert result.executed.is_file()


def test_the_kernel_is_the_running_python(saved):
    _, path, _ = saved
    last = nbformat.read(path, as_version=4).cells[-1]
    assert last.outputs[0].data["text/plain"] == repr(sys.prefix)


def test_the_same_results_give_the_same_file(saved):
    _, path, before = saved
    assert path.read_text() == before


def test_a_stored_lesson_has_pictures_and_no_progress_bars(saved):
    _, path, _ = saved
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert [output.text for output in outputs[2]] == ["0\n1\n2\n"]
    assert [set(output.data) for output in outputs[3]] == [{"text/html", "text/plain"}]
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == [1, 2, 3, 4, 5, 6], "nbval refuses the outputs of a cell without a count"
    assert all("execution" not in cell.metadata for cell in notebook.cells)


def test_the_commit_hook_leaves_a_stored_lesson_as_it_is(saved, tmp_path):
    copy = shutil.copy(saved[1], tmp_path)
    hooks = yaml.safe_load((runner.ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    [entry] = [hook["entry"] for hook in hooks if hook["id"] == "nbstripout"]
    subprocess.run([sys.executable, "-m", *entry.split(), copy], check=True)
    assert Path(copy).read_text() == saved[1].read_text()


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
def test_whatever_fails_fails_the_lesson_and_nothing_is_stored(tmp_path, what):
    source, message = FAILURES[what]
    path = lesson(tmp_path, "00_bad", "'fine'", source)
    before = path.read_text()
    result = runner.run_lesson(path, save=True, folder=tmp_path / "runs", timeout=3 if what == "the clock" else 60)
    assert (result.passed, result.error) == (False, message)
    assert path.read_text() == before and result.executed.is_file()


def test_an_error_that_is_meant_does_not_fail_the_lesson(tmp_path):
    path = lesson(tmp_path, "00_trap", "1 / 0", tags=["raises-exception"])
    assert runner.run_lesson(path, folder=tmp_path / "runs").passed


def test_a_run_of_several_lessons_prints_tables_and_writes_a_summary(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "find_lessons", lambda names: paths)
    paths = [lesson(tmp_path, "00_good", TABLE), lesson(tmp_path, "01_bad", "1 / 0")]
    results = runner.run(folder=tmp_path / "runs")
    assert "pruned 1.0x" in capsys.readouterr().out
    facts = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert [(fact["lesson"], fact["status"]) for fact in facts] == [("00_good", "passed"), ("01_bad", "failed")]
    text = runner.summary(results)
    assert "peak MB" in text and "01_bad: code cell 1: ZeroDivisionError" in text


def test_lessons_are_found_by_number_name_or_path(tmp_path):
    paths = [lesson(tmp_path, name, "1") for name in ("00_start", "03_pruning")]
    assert runner.find_lessons([], tmp_path) == paths
    assert runner.find_lessons(["03", "00_start"], tmp_path) == [paths[1], paths[0]]
    assert runner.find_lessons([str(paths[1])], tmp_path) == [paths[1]]
    with pytest.raises(ValueError, match=r"lesson must be one of 00, 03, or a notebook file; got '07'"):
        runner.find_lessons(["07"], tmp_path)


def test_tidy_joins_printed_text_and_drops_warnings():
    def printed(text, name="stdout"):
        return new_output("stream", name=name, text=text)

    view = new_output("display_data", {WIDGET_VIEW: {}, "text/plain": "Bar()"})
    outputs = [printed("a\n"), printed("warning", "stderr"), printed("b\n"), view]
    notebook = new_notebook(cells=[new_code_cell("x", outputs=outputs, execution_count=7)])
    cell = tidy(notebook).cells[0]
    assert [output.text for output in cell.outputs] == ["a\nb\n"]


def test_tidy_gives_cells_without_an_id_the_same_one_every_time():
    def without_ids():
        notebook = new_notebook(cells=[new_code_cell("x"), new_code_cell("x")])
        for cell in notebook.cells:
            del cell["id"]
        return [cell["id"] for cell in tidy(notebook).cells]

    assert without_ids() == without_ids() and len(set(without_ids())) == 2
