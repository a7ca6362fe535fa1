"""A pytest plugin that writes what nbval found in each cell to a JSON file.

It runs in a process of its own next to nbval (``-p course_lib.grading.cell_report``) and keeps to the standard
library. Texts that a notebook printed are cut to ``TEXT_LIMIT`` characters and are never interpreted.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

TEXT_LIMIT = 2000
OUTPUT_LIMIT = 16_000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--cell-report FILE``."""
    parser.addoption("--cell-report", metavar="FILE", help="write nbval's verdict on each cell to FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Start collecting if the option is given."""
    if target := config.getoption("--cell-report"):
        config.pluginmanager.register(_CellReport(Path(target)))


class _CellReport:
    """Collects one entry per cell; the file appears whole or not at all."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.entries: list[dict[str, Any]] = []

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: pytest.CallInfo) -> Any:
        outcome = yield
        report = outcome.get_result()
        if report.when == "call" or report.outcome != "passed":
            self.entries.append(_entry(item, report))

    def pytest_sessionfinish(self) -> None:
        partial = self.target.with_suffix(".partial")
        partial.write_text(json.dumps(self.entries), encoding="utf-8")
        os.replace(partial, self.target)


def _entry(item: Any, report: Any) -> dict[str, Any]:
    """``xfail`` marks, which nbval sets after a timeout, count as failures."""
    passed = report.outcome == "passed" and not hasattr(report, "wasxfail")
    outputs = getattr(item, "test_outputs", None) or []
    errors = [output for output in outputs if output.get("output_type") == "error"]
    printed = "".join(str(output.get("text", "")) for output in outputs if output.get("name") == "stdout")
    name, value = (errors[0].get("ename"), errors[0].get("evalue")) if errors else (None, None)
    return {
        "cell": getattr(item, "cell_num", None),
        "when": report.when,
        "passed": passed,
        "seconds": round(report.duration, 3),
        "error": _text(name),
        "message": _text(value),
        "output": printed[: OUTPUT_LIMIT + 1],
        "kernel": _kernel_state(item.parent),
        "report": None if passed else report.longreprtext[-TEXT_LIMIT:],
    }


def _kernel_state(notebook: Any) -> str:
    if getattr(notebook, "timed_out", False):
        return "late"
    kernel = getattr(notebook, "kernel", None)
    return "alive" if kernel is not None and kernel.is_alive() else "dead"


def _text(value: Any) -> str | None:
    return str(value)[:TEXT_LIMIT] if value is not None else None
