"""Run ``pytest --nbval`` on a notebook whose kernel is in the sandbox, in a process that is bounded from outside.

The process is trusted: it sees a folder of our own making, no conftest, no configuration, no file of the learner.
What comes back is one entry per code cell (``course_lib.grading.cell_report``) and a reason if there is no report.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from course_lib.grading import cgroups, containers, fork_server, provisioner, sandbox
from course_lib.grading.building import ROOT
from course_lib.grading.selfcheck import EXIT_STATUS, nbval_options

REPORT_LIMIT = 64 * sandbox.MEGABYTE
START_SECONDS = 600
STRETCH = 10  # the guard inside counts precisely; this is for a process that does not listen


@dataclass(frozen=True)
class Run:
    """``entries`` maps nbval's number of a code cell to its report; ``failure`` says why there is none."""

    entries: Mapping[int, Mapping[str, Any]]
    failure: str = ""


def run(notebook: NotebookNode, files: Mapping[str, Path], *, level: str, limits: sandbox.Limits | None = None) -> Run:
    """Execute and compare all cells.

    Args:
        notebook: code and reference outputs; nothing in it may come from the learner but cell sources.
        files: what the kernel sees in its library folder, by the path inside it.
        level: sandbox level, see ``sandbox.require``.

    Raises:
        SandboxError: if this level does not work here; nothing was run then.
    """
    limits = limits or sandbox.Limits()
    sandbox.require(level)
    with tempfile.TemporaryDirectory(prefix="course-grade-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with _bounds(level, limits, folder.name) as groups:
            _prepare(folder, notebook, files, level, limits, groups)
            options = nbval_options(
                folder, "--nbval", f"--nbval-kernel-name={provisioner.NAME}",
                f"--nbval-cell-timeout={limits.question_seconds:g}",
                f"--nbval-kernel-startup-timeout={START_SECONDS}", "-p", "course_lib.grading.nbval_guard",
            )  # fmt: skip
            failure = _supervise(options, folder, STRETCH * limits.notebook_seconds)
        return _read(folder / "report.json", failure)


@contextlib.contextmanager
def _bounds(level: str, limits: sandbox.Limits, name: str) -> Iterator[list[str]]:
    """Control groups for all processes of the submission; a container has its own, and is removed at the end."""
    if level != "container":
        with cgroups.group(limits.memory_mb * sandbox.MEGABYTE, limits.processes) as groups:
            yield groups
        return
    try:
        yield []
    finally:
        containers.remove(name)


def _prepare(
    folder: Path,
    notebook: NotebookNode,
    files: Mapping[str, Path],
    level: str,
    limits: sandbox.Limits,
    groups: list[str],
) -> None:
    kernels = folder / "jupyter" / "kernels" / provisioner.NAME
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(json.dumps(provisioner.kernelspec()), encoding="utf-8")
    home, library = sandbox.HOME, sandbox.LIBRARY
    if level == "process":
        home, library = str(folder / "home"), str(_library(folder / "library", files))
    settings = {
        "level": level, "limits": asdict(limits), "home": home, "library": library, "cgroup": groups,
        "files": {name: str(path) for name, path in files.items()}, "name": folder.name,
        "engine": containers.variables(),
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    nbformat.write(notebook, folder / "notebook.ipynb")


def _library(folder: Path, files: Mapping[str, Path]) -> Path:
    """A copy of the visible files, for levels that cannot show them in another place."""
    for name, path in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            target.symlink_to(path, target_is_directory=True)
        else:
            shutil.copyfile(path, target)
    return folder


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PYTHONNOUSERSITE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "JUPYTER_PATH": str(folder / "jupyter"),
        "JUPYTER_DATA_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "configuration"),
        "IPYTHONDIR": str(folder / "ipython"),
        "COURSE_SANDBOX": str(folder / "settings.json"),
    }


def _supervise(options: Sequence[str], folder: Path, seconds: float) -> str:
    """Run pytest for at most ``seconds``; returns why it did not end well, if so."""
    with fork_server.start(options, folder, _environment(folder)) as comparison:
        try:
            status = comparison.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"the notebook took longer than {seconds:g} seconds"
    return "" if status in EXIT_STATUS else f"the comparison ended with status {status}"


def _read(report: Path, failure: str) -> Run:
    if not report.is_file():
        return Run({}, failure or "there is no report")
    if report.stat().st_size > REPORT_LIMIT:
        return Run({}, "the report is too large")
    entries = json.loads(report.read_text(encoding="utf-8"))
    return Run({entry["cell"]: entry for entry in entries}, failure)
