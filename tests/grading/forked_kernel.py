"""Runs a program in a forked child of the tests, without nbval and sandbox, where only its verdicts matter."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from IPython.core.interactiveshell import InteractiveShell

from course_lib.grading import assignment, nbval_report, nbval_run, probe_runtime
from course_lib.grading.nbval_report import CellReport, KernelState

CPU_SECONDS = 1


def run(notebook: Any, *_: Any, **__: Any) -> nbval_run.Run:
    """The reports of all cells; a cell that takes more than ``CPU_SECONDS`` of processor time ends the kernel."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            _run_cells(notebook, writing)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as lines:
        found = [nbval_report._report(json.loads(line)) for line in lines]
    os.waitpid(child, 0)
    cells = {cell.id: report for cell, report in zip(notebook.cells, found, strict=False)}
    if len(found) < len(notebook.cells):
        cells[notebook.cells[len(found)].id] = CellReport(len(found), False, kernel=KernelState.TIMED_OUT)
    return nbval_run.Run(cells)


def _run_cells(notebook: Any, writing: int) -> None:
    torch.set_num_threads(1)
    sys.path.append(str(os.path.dirname(probe_runtime.__file__)))
    shell, printed = InteractiveShell(), io.StringIO()
    sys.stdout = sys.stderr = printed
    for number, cell in enumerate(notebook.cells):
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)  # its signal ends the process
        for report in _reports(shell, printed, number, cell):
            os.write(writing, (json.dumps(asdict(report)) + "\n").encode())


def _reports(shell: Any, printed: io.StringIO, number: int, cell: Any) -> Iterator[CellReport]:
    start = printed.tell()
    done = shell.run_cell(cell.source)
    error = done.error_before_exec or done.error_in_exec
    output = printed.getvalue()[start:]
    expected = "".join(one.text for one in cell.outputs)
    right = assignment.IGNORE_OUTPUT in cell.metadata.get("tags", []) or output == expected
    name, message = (type(error).__name__, str(error)) if error else (None, None)
    yield CellReport(number, right and error is None, error=name, message=message, output=output)
