"""The panel of lesson 08 over bits and group size: stored bytes and perplexity of a tiny Llama.

The values are the shipped results of ``benchmarks/quantization_llm.py``; nothing is quantized while a slider moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from course_lib.calculator.measurements import results
from course_lib.core.formatting import byte_size
from course_lib.widgets import charts
from course_lib.widgets.components import Number, side_by_side
from course_lib.widgets.controls import choice, slider
from course_lib.widgets.measured import Curve, Rows, Style, draw_line
from course_lib.widgets.panel import Panel

METHODS = {"rtn": Style("to nearest", "before", "square"), "gptq": Style("GPTQ", "kept")}
ROW = "one scale per row"


@dataclass(frozen=True)
class QuantizedModel:
    """A language model at a number of bits: perplexity and stored bytes over the bits, by method."""

    bits: int
    perplexity: Mapping[str, Curve]
    stored: Mapping[str, Curve]
    baseline: float
    baseline_bytes: int


def few_bits_panel(bits: int = 3, group: int | None = 64) -> Panel:
    """Drag bits and group size, and see stored bytes and perplexity of round-to-nearest and GPTQ.

    Args:
        bits: start of the slider.
        group: start of the group size; None is one scale per row.

    Raises:
        ValueError: if no results are shipped.
    """
    tables = results("quantization_llm")
    if "group_sizes" not in tables:
        raise ValueError("results of benchmarks/quantization_llm.py are not shipped; run it with --only group_sizes")
    rows, baseline_bytes = tables["group_sizes"]["rows"], tables["tiny"]["rows"][0]["stored_bytes"]
    groups = {ROW if row["group_size"] is None else f"{row['group_size']} weights": row["group_size"] for row in rows}

    def compute(bits: int, group: str) -> QuantizedModel:
        return look_up(rows, baseline_bytes, bits, groups[group])

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


def look_up(rows: Rows, baseline_bytes: int, bits: int, group_size: int | None) -> QuantizedModel:
    """Perplexity and stored bytes of one group size, by method."""
    chosen = [row for row in rows if row["group_size"] == group_size]

    def curve(method: str, key: str, *, log: bool = False) -> Curve:
        points = sorted((row["bits"], row[key]) for row in chosen if row["method"] == method)
        return Curve(method, [point[0] for point in points], [point[1] for point in points], log)

    perplexity = {method: curve(method, "test", log=True) for method in METHODS}
    stored = {method: curve(method, "stored_bytes") for method in METHODS}
    return QuantizedModel(bits, perplexity, stored, chosen[0]["before"], baseline_bytes)


def draw(model: QuantizedModel) -> str:
    """Perplexity over bits, and the stored bytes as bars."""
    lines = [draw_line(model.perplexity[method], style) for method, style in METHODS.items()]
    highest = max(value for line in lines for value in line.y)
    level = charts.Line("fp16", [2, 8], [model.baseline, model.baseline], "baseline", "diamond", dashed=True)
    main = charts.lines(
        [*lines, level], title="Perplexity on the test windows", x_label="bits per weight", y_label="perplexity",
        x_range=(2, 8), x_ticks=[2, 3, 4, 5, 6, 7, 8], y_range=(model.baseline * 0.95, highest), cursor=model.bits,
        width=charts.MAIN,
    )  # fmt: skip
    sizes = [model.baseline_bytes, round(model.stored["gptq"].at(model.bits)[0])]
    companion = charts.bars(
        ["fp16", f"{model.bits} bits"], sizes, title="The file", colours=["baseline", "kept"],
        labels=[byte_size(size) for size in sizes],
    )  # fmt: skip
    return side_by_side(main, companion)


def numbers(model: QuantizedModel) -> list[Number]:
    """Stored bytes, and the perplexity of each method."""
    size, tag = model.stored["gptq"].at(model.bits)
    row = [Number(byte_size(round(size)), f"{model.baseline_bytes / size:.1f} times smaller than fp16", tag)]
    for method, style in METHODS.items():
        value, tag = model.perplexity[method].at(model.bits)
        row.append(Number(f"{value:.1f}", f"perplexity, {style.label}, was {model.baseline:.1f}", tag))
    return row
