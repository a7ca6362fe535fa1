"""Execute lessons from top to bottom in a fresh kernel of this Python, and say what came out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm.auto import tqdm
from traitlets.config import Config

from course_lib.core import memory
from course_lib.core.atomic_write import write_atomically
from course_lib.notebook import ipc_kernels
from course_lib.notebook.clean_outputs import tidy

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "notebooks"
RUNS = ROOT / "runs"
CELL_TIMEOUT = 300
QUIET_KERNEL = "--IPKernelApp.log_level=ERROR"  # it warns at every start that it talks over loopback
RESULT_TABLE = 'class="course-table"'  # what course_lib.report marks its tables with
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class LessonResult:
    """What one execution showed.

    Args:
        lesson: name of the notebook without its suffix.
        cells: number of code cells.
        seconds: wall-clock time, the kernel's start included.
        peak_mb: highest resident memory of the kernel, in MB (10^6 bytes).
        status: ``"passed"`` or ``"failed"``.
        error: one line for a failed lesson: which cell, what.
        tables: result tables that the lesson showed, as text.
        executed: the executed copy.
    """

    lesson: str
    cells: int
    seconds: float
    peak_mb: float
    status: str
    error: str
    tables: tuple[str, ...]
    executed: Path

    @property
    def passed(self) -> bool:
        return self.status == "passed"


class _OwnKernelManager(AsyncKernelManager):
    """Starts the kernel of the running interpreter, whatever kernels the machine has registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir="", **get_kernel_dict())


def find_lessons(names: Sequence[str] = (), folder: Path = LESSONS) -> list[Path]:
    """Notebooks by number (``"03"``), name or path; all lessons without a name.

    Raises:
        ValueError: if a name fits no notebook.
    """
    available = sorted(folder.glob("*.ipynb"))
    if not names:
        return available
    found = []
    for name in names:
        fitting = [path for path in available if path.stem == name or path.stem.startswith(f"{name}_")]
        if Path(name).suffix == ".ipynb" and Path(name).is_file():
            fitting = [Path(name)]
        if not fitting:
            numbers = ", ".join(path.stem.split("_")[0] for path in available) or "none here"
            raise ValueError(f"lesson must be one of {numbers}, or a notebook file; got {name!r}")
        found += fitting
    return found


def run_lesson(
    path: str | Path, *, save: bool = False, folder: Path | None = None, timeout: float = CELL_TIMEOUT
) -> LessonResult:
    """Execute one notebook; the executed copy goes to ``folder``.

    Args:
        path: a notebook file; it is not changed unless ``save``.
        save: store the tidied outputs in the notebook itself, if every cell passed.
        folder: default ``runs/``.
        timeout: seconds that one cell may take.
    """
    path, folder = Path(path), folder or RUNS
    notebook = nbformat.read(path, as_version=4)
    started = time.monotonic()
    with ipc_kernels.settings() as sockets:
        client, meter = _client(notebook, path, timeout, sockets)
        error = _execute(client, meter)
    seconds = time.monotonic() - started
    error = error or _silent_error(notebook, client.widget_state)
    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / path.name
    nbformat.write(notebook, executed)
    result = LessonResult(
        path.stem, meter.total, round(seconds, 1), round(meter.peak_mb, 1), "failed" if error else "passed", error,
        tuple(_result_tables(notebook)), executed,
    )  # fmt: skip
    if save and result.passed:
        write_atomically(path, nbformat.writes(tidy(notebook)) + "\n")
    return result


def run(
    names: Sequence[str] = (), *, save: bool = False, folder: Path | None = None, timeout: float = CELL_TIMEOUT
) -> list[LessonResult]:
    """Execute lessons one after another; prints their result tables, writes ``summary.json`` beside the copies.

    Raises:
        ValueError: if a name fits no notebook, or there is none to run.
    """
    paths = find_lessons(names)
    if not paths:
        raise ValueError(f"there are no lessons in {LESSONS}")
    folder, results = folder or RUNS, []
    for path in paths:
        result = run_lesson(path, save=save, folder=folder, timeout=timeout)
        results.append(result)
        for table in result.tables:
            print(f"\n{table}\n", flush=True)
    facts = [{**asdict(result), "executed": result.executed.name} for result in results]
    (folder / "summary.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    return results


def summary(results: Iterable[LessonResult]) -> str:
    """A table for a terminal: lesson, cells, seconds, peak memory, status; then the errors."""
    results = list(results)
    width = max(len(result.lesson) for result in results)
    lines = [f"{'lesson':<{width}}  cells  seconds  peak MB  status"]
    for result in results:
        numbers = f"{result.cells:5d}  {result.seconds:7.1f}  {result.peak_mb:7.0f}"
        lines.append(f"{result.lesson:<{width}}  {numbers}  {result.status}")
    lines += [f"{result.lesson}: {result.error}" for result in results if result.error]
    return "\n".join(lines)


class _Meter:
    """Counts cells on a progress bar, and remembers the kernel's highest resident memory."""

    def __init__(self, notebook: NotebookNode, name: str) -> None:
        self.total = sum(cell.cell_type == "code" for cell in notebook.cells)
        self.bar = tqdm(total=self.total, desc=name, unit="cell", leave=False)
        self.client: NotebookClient | None = None
        self.peak_mb = 0.0
        self.started = 0

    @property
    def place(self) -> str:
        """Where it is, as a reader counts: code cells from 1."""
        return f"code cell {self.started}"

    async def cell_starts(self, **_: Any) -> None:
        self.started += 1

    async def cell_done(self, **_: Any) -> None:
        self.bar.update()
        provisioner = getattr(self.client and self.client.km, "provisioner", None)
        if isinstance(provisioner, LocalProvisioner) and provisioner.pid:
            self.peak_mb = max(self.peak_mb, memory.peak_bytes(provisioner.pid) / 1e6)


def _client(
    notebook: NotebookNode, path: Path, timeout: float, sockets: Mapping[str, str]
) -> tuple[NotebookClient, _Meter]:
    meter = _Meter(notebook, path.stem)
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", kernel_manager_class=_OwnKernelManager,
        resources={"metadata": {"path": str(path.resolve().parent)}}, on_cell_execute=meter.cell_starts,
        on_cell_executed=meter.cell_done, store_widget_state=True, record_timing=False, extra_arguments=[QUIET_KERNEL],
        config=Config({"KernelManager": sockets}),
    )  # fmt: skip
    meter.client = client
    return client, meter


def _execute(client: NotebookClient, meter: _Meter) -> str:
    """Run all cells; returns one line for a failure, else an empty string."""
    try:
        client.execute(env=kernel_variables(os.environ))
    except CellExecutionError as error:
        return f"{meter.place}: {error.ename}: {error.evalue}".splitlines()[0]
    except CellTimeoutError:
        return f"{meter.place}: took longer than {client.timeout:g} s"
    except DeadKernelError:
        return f"{meter.place}: the kernel died (out of memory?)"
    except RuntimeError as error:
        return f"the kernel did not start: {error}"
    finally:
        meter.bar.close()
    return ""


def kernel_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment of the kernel: two threads unless told otherwise, no panel swallows an error, no progress is kept."""
    threads = str(min(2, os.cpu_count() or 1))
    return {"OMP_NUM_THREADS": threads, "COURSE_PROGRESS": "memory", **variables, "COURSE_STRICT_WIDGETS": "1"}


def _silent_error(notebook: NotebookNode, widget_state: Mapping[str, Mapping[str, Any]]) -> str:
    """An error that did not stop the run: a traceback on stderr, or one caught by an Output widget."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        if "raises-exception" in cell.metadata.get("tags", ()):
            continue
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr" and TRACEBACK in output.text:
                return f"code cell {number}: {output.text.strip().splitlines()[-1]}"
    for state in widget_state.values():
        for output in state.get("outputs", ()):
            if output.get("output_type") == "error":
                return f"in a widget: {output.get('ename')}: {output.get('evalue')}"
    return ""


def _result_tables(notebook: NotebookNode) -> list[str]:
    data = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    return [item["text/plain"] for item in data if RESULT_TABLE in item.get("text/html", "")]
