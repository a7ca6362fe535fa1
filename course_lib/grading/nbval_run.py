"""Run ``pytest --nbval`` on a notebook whose kernel is in the sandbox.

The pytest process is trusted: it works in a new folder without conftest, configuration or files of the learner. Its
time is limited from here, in case the guard in it fails. The result is one report per cell, or why there is none.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.grading import (
    cells,
    cgroups,
    containers,
    fork_server,
    leftovers,
    nbval_report,
    provisioner,
    sandbox,
    templates,
)  # fmt: skip
from course_lib.grading.building import ROOT
from course_lib.grading.nbval_report import CellReport
from course_lib.grading.outcome import Stop, StopReason

REPORT_LIMIT = 64 * sandbox.MEGABYTE
START_SECONDS = 600
STRETCH = 10  # times the seconds of a notebook: for a process in which the guard does not work


@dataclass(frozen=True)
class Run:
    """One report per cell.

    Args:
        cells: id of a code cell → its report.
        failure: what went wrong with the run as a whole.
        seconds: counted time of the kernel, see ``nbval_guard``; wall-clock if the guard did not come to its end.
    """

    cells: Mapping[str, CellReport]
    failure: Stop | None = None
    seconds: float = 0.0


def run(notebook: NotebookNode, files: Mapping[str, Path], *, level: str, limits: sandbox.Limits | None = None) -> Run:
    """Execute and compare all cells.

    Args:
        notebook: code and reference outputs; only cell sources may come from the learner.
        files: what the kernel sees in its library folder, by the path inside it.
        level: sandbox level, see ``sandbox.require``.

    Raises:
        SandboxError: if this level does not work here; nothing was run.
    """
    limits = limits or sandbox.Limits()
    sandbox.require(level)
    with tempfile.TemporaryDirectory(prefix=leftovers.prefix("grade"), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with _group_limits(level, limits, folder.name) as groups:
            template = templates.address(notebook, files) if level == "bwrap" else None
            _prepare(folder, notebook, files, level, limits, groups, template)
            options = nbval_report.options(
                folder, "--nbval", f"--nbval-kernel-name={provisioner.NAME}",
                f"--nbval-cell-timeout={limits.question_seconds:g}",
                f"--nbval-kernel-startup-timeout={START_SECONDS}", "-p", "course_lib.grading.nbval_guard",
            )  # fmt: skip
            begin = time.monotonic()
            failure = _supervise(options, folder, STRETCH * limits.notebook_seconds)
            seconds = _counted(folder, time.monotonic() - begin)
        return replace(read(folder / "report.json", notebook, failure), seconds=seconds)


@contextlib.contextmanager
def _group_limits(level: str, limits: sandbox.Limits, name: str) -> Iterator[list[str]]:
    """Control groups for all processes of the submission; a container has its own and is removed at the end."""
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
    template: str | None = None,
) -> None:
    kernels = folder / "jupyter" / "kernels" / provisioner.NAME
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(json.dumps(provisioner.kernelspec()), encoding="utf-8")
    home, library = sandbox.HOME, sandbox.LIBRARY
    if level == "process":
        home, library = str(folder / "home"), str(linked(folder / "library", files))
    settings = {
        "level": level, "limits": asdict(limits), "home": home, "library": library, "cgroup": groups,
        "files": {name: str(path) for name, path in files.items()}, "name": folder.name,
        "engine": containers.variables(), "template": template,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    nbformat.write(notebook, folder / "notebook.ipynb")


def linked(folder: Path, files: Mapping[str, Path]) -> Path:
    """A folder with links to the visible files, where they cannot be mounted; copies where links are not allowed."""
    for name, path in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            (folder / name).symlink_to(path)
        except OSError:
            shutil.copyfile(path, folder / name)
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


def _supervise(options: Sequence[str], folder: Path, seconds: float) -> Stop | None:
    """Run pytest for at most ``seconds``; returns what went wrong, if anything did."""
    with fork_server.start(options, folder, _environment(folder)) as comparison:
        try:
            status = comparison.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return Stop(StopReason.TIME, f"the notebook took longer than {seconds:g} seconds")
    return None if status in nbval_report.EXIT_STATUS else _failure(f"the comparison ended with status {status}")


def _counted(folder: Path, passed: float) -> float:
    """The seconds that the guard counted, or else all that have passed."""
    try:
        return float((folder / provisioner.SECONDS).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return passed


def read(file: Path, notebook: NotebookNode, failure: Stop | None) -> Run:
    """The reports that pytest left about a notebook, by the ids of its cells."""
    if not file.is_file():
        return Run({}, failure or _failure("there is no report"))
    if file.stat().st_size > REPORT_LIMIT:
        return Run({}, _failure("the report is too large"))
    reports = nbval_report.read(file)
    ids = {number: notebook.cells[index].id for number, index in cells.code_index(notebook).items()}
    return Run({id: reports[number] for number, id in ids.items() if number in reports}, failure)


def _failure(text: str) -> Stop:
    return Stop(StopReason.COMPARISON_FAILED, text)
