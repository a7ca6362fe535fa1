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

from course_lib.notebook import runner

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


@pytest.fixture(scope="module")
def saved(tmp_path_factory, lesson):
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


def test_a_run_of_several_lessons_prints_tables_and_writes_a_summary(tmp_path, lesson, monkeypatch, capsys):
    monkeypatch.setattr(runner, "find_lessons", lambda names: paths)
    paths = [lesson(tmp_path, "00_good", TABLE), lesson(tmp_path, "01_bad", "1 / 0")]
    results = runner.run(folder=tmp_path / "runs")
    assert "pruned 1.0x" in capsys.readouterr().out
    facts = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert [(fact["lesson"], fact["status"]) for fact in facts] == [("00_good", "passed"), ("01_bad", "failed")]
    text = runner.summary(results)
    assert "peak MB" in text and "01_bad: code cell 1: ZeroDivisionError" in text


def test_lessons_are_found_by_number_name_or_path(tmp_path, lesson):
    paths = [lesson(tmp_path, name, "1") for name in ("00_start", "03_pruning")]
    assert runner.find_lessons([], tmp_path) == paths
    assert runner.find_lessons(["03", "00_start"], tmp_path) == [paths[1], paths[0]]
    assert runner.find_lessons([str(paths[1])], tmp_path) == [paths[1]]
    with pytest.raises(ValueError, match=r"lesson must be one of 00, 03, or a notebook file; got '07'"):
        runner.find_lessons(["07"], tmp_path)
