"""How pytest with nbval is called, and what comes back: one ``CellReport`` for each code cell.

The plugin ``course_lib.grading.cell_report`` writes the reports inside pytest, ``read`` reads them outside.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from course_lib.grading.outcome import Stop, StopReason

UNANSWERED = {"NotAttempted", "NotImplementedError"}
EXIT_STATUS = {0, 1}  # pytest: all passed, some failed


class KernelState(StrEnum):
    """The state of the kernel after a cell."""

    ALIVE = "alive"
    DEAD = "dead"
    TIMED_OUT = "timed out"


@dataclass(frozen=True)
class CellReport:
    """What nbval found in one code cell.

    Args:
        cell: number among the code cells.
        passed: it ran, and its output equals the stored output where that is compared.
        error: class name of an exception that the cell raised, and ``message`` its text.
        output: what it printed, cut to a limit.
        failure: nbval's text about a cell that did not pass.
        stop: the limit at which the guard stopped the kernel during this cell.
    """

    cell: int
    passed: bool
    seconds: float = 0.0
    error: str | None = None
    message: str | None = None
    output: str = ""
    kernel: KernelState = KernelState.ALIVE
    failure: str = ""
    stop: Stop | None = None

    @property
    def is_unanswered(self) -> bool:
        """Whether the cell raised what an untouched answer raises."""
        return self.error in UNANSWERED


def options(folder: Path, *more: str) -> list[str]:
    """Arguments of pytest: nbval and the cell report on ``notebook.ipynb``, without any other configuration."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return [
        "-c", "pytest.ini", "--rootdir", str(folder), "--noconftest", "-q",
        "-p", "course_lib.grading.cell_report", "-p", "nbval.plugin", "-p", "no:cacheprovider",
        "--color=no", "--tb=short", "--cell-report", str(folder / "report.json"), *more, "notebook.ipynb",
    ]  # fmt: skip


def read(file: Path) -> dict[int, CellReport]:
    """The reports in a file of the plugin, by the number of the code cell."""
    return {entry["cell"]: _report(entry) for entry in json.loads(file.read_text(encoding="utf-8"))}


def _report(entry: dict) -> CellReport:
    stop = entry["stop"] and Stop(StopReason(entry["stop"]["reason"]), entry["stop"]["text"])
    return CellReport(**entry | {"kernel": KernelState(entry["kernel"]), "stop": stop})
