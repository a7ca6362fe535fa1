"""Run a program with one's own rights, for `course check`: as in the sandbox, but without its protection."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.grading import fork_server, nbval_report, nbval_run, own_kernel, sandbox
from course_lib.grading.building import ROOT
from course_lib.grading.outcome import Stop, StopReason

OWN_KERNEL = ("--nbval-current-env", "-p", "course_lib.notebook.ipc_kernels")


def run(notebook: NotebookNode, files: Mapping[str, Path] | None, limits: sandbox.Limits) -> nbval_run.Run:
    """Execute and compare all cells.

    Args:
        files: what the kernel sees of the course, by the path inside; all of it if None.
    """
    with tempfile.TemporaryDirectory(prefix="course-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        library = ROOT if files is None else nbval_run.linked(folder / "library", files)
        if files is None:
            find = f"import sys\nsys.path.append({str(Path(__file__).parent)!r})\n"
            notebook.cells[0].source = find + notebook.cells[0].source
        nbformat.write(notebook, folder / "notebook.ipynb")
        options = nbval_report.options(
            folder, "--nbval", *OWN_KERNEL, f"--nbval-cell-timeout={limits.question_seconds:g}",
            "-p", "course_lib.grading.own_kernel",
        )  # fmt: skip
        limits = replace(limits, notebook_seconds=nbval_run.STRETCH * limits.notebook_seconds)
        settings = own_kernel.settings(str(library), str(folder / "home"), asdict(limits))
        with fork_server.start(options, folder, _environment(settings)) as comparison:
            status = comparison.wait(None)
        return nbval_run.read(folder / "report.json", notebook, _failure(status, folder / "stderr.txt"))


def _environment(settings: str) -> dict[str, str]:
    """The caller's environment without pytest's own settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    search = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {
        "PYTHONPATH": os.pathsep.join(search),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        own_kernel.VARIABLE: settings,
    }


def _failure(status: int, errors: Path) -> Stop | None:
    if status in nbval_report.EXIT_STATUS:
        return None
    last = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or [f"status {status}"]
    return Stop(StopReason.COMPARISON_FAILED, f"nbval could not run the notebook: {last[0]}")
