"""Shipped measurements as outcomes of the calculator."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from course_lib import assets
from course_lib.calculator.outcomes import Figure, Outcome, memory_figure, ratio_figure, speed_figure
from course_lib.calculator.page import TECHNIQUES
from course_lib.core.formatting import compact

SOURCE = "measured"
TOLERANCE = 0.005  # of a sparsity that counts as the measured one


@cache
def results(technique: str) -> dict[str, Any]:
    """The shipped tables of ``benchmarks/TECHNIQUE.py``; empty if none are shipped."""
    if f"{technique}_results" not in assets.manifest():
        return {}
    return assets.results(technique)


def measured(technique: str, strength: float) -> Outcome | None:
    """The measurement of the shipped ResNet18 at this strength; ``None`` if there is none."""
    tables = results(technique)
    if technique != "pruning" or not {"fine_tuned", "compare"} <= tables.keys():
        return None
    row = _at(tables["fine_tuned"]["rows"], strength)
    return _outcome(row, tables["compare"]["rows"]) if row else None


def _outcome(row: dict[str, Any], compared: list[dict[str, Any]]) -> Outcome:
    before, after = compared[0], row["stored_bytes_fp32"]
    kept = round(before["parameters"] * (1 - row["sparsity"]))
    timed = _at(compared[1:], row["sparsity"])
    speed = timed["speedup"] if timed else None
    return Outcome(
        technique=Figure(None, "", f"{TECHNIQUES['pruning'].name}, ResNet18", SOURCE),
        size=Figure(kept, "parameters", f"{compact(kept)} params", SOURCE),
        ratio=ratio_figure(before["stored_bytes"] / after, SOURCE),
        quality=Figure(row["retained"], "", f"{100 * row['retained']:.1f} %", SOURCE),
        speedup=speed_figure(speed, SOURCE) if speed else Figure(None, "x", "not timed", SOURCE),
        memory=memory_figure(before["stored_bytes"], after, SOURCE),
        support=Figure(None, "", "ResNet18 on ONNX Runtime, CPU", SOURCE),
    )


def _at(rows: list[dict[str, Any]], sparsity: float) -> dict[str, Any] | None:
    return next((row for row in rows if math.isclose(row["sparsity"], sparsity, abs_tol=TOLERANCE)), None)
