"""A pytest plugin that writes what nbval found in each cell to a JSON file.

pytest loads it by name (``-p course_lib.grading.cell_report``) in a process of its own. Texts that a notebook printed
are cut to ``TEXT_LIMIT`` characters and are never interpreted.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from course_lib.grading.nbval_report import CellReport, KernelState

TEXT_LIMIT = 2000
OUTPUT_LIMIT = 16_000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--cell-report FILE``."""
    parser.addoption("--cell-report", metavar="FILE", help="write nbval's verdict on each cell to FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Start collecting if the option is given."""
    if target := config.getoption("--cell-report"):
        config.pluginmanager.register(_Collector(Path(target)))


class _Collector:
    """Collects one report per cell; the file appears complete or not at all."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.reports: list[CellReport] = []

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: pytest.CallInfo) -> Any:
        outcome = yield
        report = outcome.get_result()
        if report.when == "call" or report.outcome != "passed":
            self.reports.append(_cell_report(item, call, report))

    def pytest_sessionfinish(self) -> None:
        partial = self.target.with_suffix(".partial")
        partial.write_text(json.dumps([asdict(report) for report in self.reports]), encoding="utf-8")
        os.replace(partial, self.target)


def _cell_report(item: Any, call: pytest.CallInfo, report: Any) -> CellReport:
    """``xfail`` marks, which nbval sets after a timeout, count as failures."""
    passed = report.outcome == "passed" and not hasattr(report, "wasxfail")
    outputs = getattr(item, "test_outputs", None) or []
    errors = [output for output in outputs if output.get("output_type") == "error"]
    printed = "".join(str(output.get("text", "")) for output in outputs if output.get("name") == "stdout")
    name, value = (errors[0].get("ename"), errors[0].get("evalue")) if errors else (None, None)
    return CellReport(
        getattr(item, "cell_num", -1), passed, round(report.duration, 3), _text(name), _text(value),
        printed[: OUTPUT_LIMIT + 1], _kernel_state(item.parent), "" if passed else report.longreprtext[-TEXT_LIMIT:],
        getattr(call.excinfo.value, "stop", None) if call.excinfo else None,
    )  # fmt: skip


def _kernel_state(notebook: Any) -> KernelState:
    if getattr(notebook, "timed_out", False):
        return KernelState.TIMED_OUT
    kernel = getattr(notebook, "kernel", None)
    return KernelState.ALIVE if kernel is not None and kernel.is_alive() else KernelState.DEAD


def _text(value: Any) -> str | None:
    return str(value)[:TEXT_LIMIT] if value is not None else None
