"""The panel of lesson 08 over bits and group size: what a tiny Llama weighs, and what it still knows.

Perplexities come from the shipped results of ``benchmarks/quantization_llm.py``; nothing is quantized while a slider
moves. Between two measured numbers of bits the value is estimated on a straight line over the logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from course_lib.calculator.measurements import results
from course_lib.core.formatting import byte_size
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.panel import Panel

METHODS = {"rtn": ("to nearest", "before", "square"), "gptq": ("GPTQ", "kept", "circle")}
ROW = "one scale per row"


@dataclass(frozen=True)
class FewBits:
    """What is shown for a number of bits and a group size; perplexities and bytes by method."""

    bits: int
    group: str
    curves: Mapping[str, Sequence[tuple[int, float]]]
    stored: Mapping[str, float]
    baseline: float
    baseline_bytes: int

    def perplexity(self, method: str) -> tuple[float, str]:
        """At these bits, and whether it was measured or lies between two measurements."""
        points = sorted(self.curves[method])
        bits, values = [point[0] for point in points], [point[1] for point in points]
        value = math.exp(numpy.interp(self.bits, bits, numpy.log(values)))
        return value, "measured" if self.bits in bits else "estimated"


def few_bits_panel(bits: int = 3, group: int | None = 64) -> Panel:
    """Bits and group size against size of the file and perplexity, for two ways to round.

    Args:
        bits: where the slider starts.
        group: where the group size starts; None is one scale per row.

    Raises:
        ValueError: if no results are shipped.
    """
    tables = results("quantization_llm")
    if "group_sizes" not in tables:
        raise ValueError("results of benchmarks/quantization_llm.py are not shipped; run it with --only group_sizes")
    rows, before_bytes = tables["group_sizes"]["rows"], tables["tiny"]["rows"][0]["stored_bytes"]
    groups = {ROW if row["group_size"] is None else f"{row['group_size']} weights": row["group_size"] for row in rows}

    def compute(bits: int, group: str) -> FewBits:
        return look_up(rows, before_bytes, bits, group, groups[group])

    start = next(name for name, size in groups.items() if size == group)
    return Panel(
        compute,
        draw,
        numbers=numbers,
        title="How few bits, and who shares a scale?",
        subtitle="A language model of the course, its embeddings at 8 bits. Lower perplexity is better.",
        bits=slider(bits, 2, 8, label="Bits per weight"),
        group=choice(*groups, value=start, label="A scale for every"),
    )


def look_up(rows: Sequence[Mapping[str, Any]], before_bytes: int, bits: int, name: str, size: Any) -> FewBits:
    """The curves of one group size, and the bytes at ``bits``."""
    chosen = [row for row in rows if row["group_size"] == size]
    curves = {method: [(row["bits"], row["test"]) for row in chosen if row["method"] == method] for method in METHODS}
    stored = {}
    for method in METHODS:
        points = sorted((row["bits"], row["stored_bytes"]) for row in chosen if row["method"] == method)
        stored[method] = float(numpy.interp(bits, [point[0] for point in points], [point[1] for point in points]))
    return FewBits(bits, name, curves, stored, chosen[0]["before"], before_bytes)


def draw(result: FewBits) -> str:
    """Perplexity over bits, and the files as bars."""
    lowest = max(max(value for _, value in points) for points in result.curves.values())
    series = []
    for method, (label, colour, marker) in METHODS.items():
        points = sorted(result.curves[method])
        bits, values = [point[0] for point in points], [point[1] for point in points]
        series.append(charts.Line(label, bits, values, colour, marker))
    level = charts.Line("fp16", [2, 8], [result.baseline, result.baseline], "baseline", "diamond", dashed=True)
    main = charts.lines(
        [*series, level], title="Perplexity on the test windows", x_label="bits per weight", y_label="perplexity",
        x_range=(2, 8), x_ticks=[2, 3, 4, 5, 6, 7, 8], y_range=(result.baseline * 0.95, lowest), log_y=False,
        cursor=result.bits, width=charts.MAIN,
    )  # fmt: skip
    smaller = round(result.stored["gptq"])
    sizes = charts.bars(
        ["fp16", f"{result.bits} bits"], [result.baseline_bytes, smaller], title="The file",
        colours=["baseline", "kept"], labels=[byte_size(size) for size in (result.baseline_bytes, smaller)],
    )  # fmt: skip
    return side_by_side(main, sizes)


def numbers(result: FewBits) -> list[Number]:
    """The file, and the perplexity of each method."""
    tag = result.perplexity("gptq")[1]
    size = result.stored["gptq"]
    row = [Number(byte_size(round(size)), f"{result.baseline_bytes / size:.1f} times smaller than fp16", tag)]
    for method, (label, _, _) in METHODS.items():
        value, tag = result.perplexity(method)
        row.append(Number(f"{value:.1f}", f"perplexity, {label}, was {result.baseline:.1f}", tag))
    return row
