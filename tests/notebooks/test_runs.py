"""nbval notices a changed fact; the lessons themselves are run against their stored outputs by the suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from course_lib.grading import building, nbval_report, selfcheck

SANITIZE = Path(__file__).with_name("sanitize.cfg")


def run(path, folder):
    """nbval's failed cells; the marked outputs are compared with the stored ones."""
    folder.mkdir()
    shutil.copy(path, folder / "notebook.ipynb")
    options = [
        "--nbval-lax", *selfcheck.OWN_KERNEL, "--nbval-cell-timeout=240", f"--nbval-sanitize-with={SANITIZE}",
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(building.ROOT),
        "COURSE_PROGRESS": str(folder / "progress.json"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, "-m", "pytest", *nbval_report.options(folder, *options)]
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (folder / "report.json").is_file(), finished.stdout + finished.stderr
    reports = nbval_report.read(folder / "report.json")
    return [report for report in reports.values() if not report.passed]


def test_a_changed_fact_is_noticed(tmp_path):
    """nbval, the marker and the sanitizer work together."""
    from nbformat.v4 import new_code_cell, new_notebook, new_output, writes

    outputs = [new_output("execute_result", {"text/plain": "(4, '3 ms')"}, execution_count=1)]
    source = "# NBVAL_CHECK_OUTPUT\n({}, '12.5 ms')"
    for value, failures in ((4, 0), (5, 1)):
        cell = new_code_cell(source.format(value), outputs=outputs, execution_count=1)
        path = tmp_path / f"{value}.ipynb"
        path.write_text(writes(new_notebook(cells=[cell])))
        assert len(run(path, tmp_path / str(value))) == failures
