"""Figures marked as claimed, estimated or measured, and outcomes made of them."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.calculator.page import PAGE_BYTES, TECHNIQUES
from course_lib.core.formatting import byte_size, compact
from course_lib.core.validation import check_choice

SOURCES = ("page claim", "estimate", "measured")


@dataclass(frozen=True)
class Figure:
    """One number: value (``None`` if unknown), unit, displayed text, and how it is known (one of ``SOURCES``)."""

    value: float | None
    unit: str
    text: str
    source: str

    def __post_init__(self) -> None:
        check_choice("source", self.source, SOURCES)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Outcome:
    """Result of a technique according to one source: the lines of the page's calculator.

    ``size`` counts parameters, ``memory`` bytes; ``ratio`` and ``speedup`` are factors, ``quality`` is a fraction.
    """

    technique: Figure
    size: Figure
    ratio: Figure
    quality: Figure
    speedup: Figure
    memory: Figure
    support: Figure


def claimed(technique: str, n: float, strength: float) -> Outcome:
    """The page's figures; its quality is one number per technique and does not depend on the strength."""
    page, source = TECHNIQUES[technique], "page claim"
    ratio = page.page_ratio(strength)
    remaining = n if technique == "quantization" else n / ratio
    bits = f" of {strength:g} bits" if technique == "quantization" else ""
    return Outcome(
        technique=Figure(None, "", page.name, source),
        size=Figure(remaining, "parameters", f"{compact(remaining)} params{bits}", source),
        ratio=ratio_figure(ratio, source),
        quality=Figure(page.quality, "", f"{100 * page.quality:.0f} %", source),
        speedup=speed_figure(page.speedup * ratio / page.ratio, source),
        memory=memory_figure(n * PAGE_BYTES, n * PAGE_BYTES / ratio, source),
        support=Figure(None, "", page.support, source),
    )


def honest(technique: str, n: float, strength: float, before: float, after: float, speedup: float) -> Outcome:
    """The estimate, from stored bytes ``before`` and ``after`` and the speed-up with dense kernels."""
    source = "estimate"
    fraction = {"pruning": 1 - strength, "quantization": 1.0, "distillation": strength, "low_rank": 2 * strength}
    remaining = fraction[technique] * n
    support = {
        "pruning": "anywhere as a dense model; sparse kernels are rare",
        "quantization": "8 bits widely; fewer bits are unpacked first",
        "distillation": "anywhere: it is a smaller dense model",
        "low_rank": "anywhere: two dense layers for one",
    }
    return Outcome(
        technique=Figure(None, "", TECHNIQUES[technique].name, source),
        size=Figure(remaining, "parameters", f"{compact(remaining)} params", source),
        ratio=ratio_figure(before / after, source),
        quality=Figure(None, "", "not computable, only measurable", source),
        speedup=speed_figure(speedup, source),
        memory=memory_figure(before, after, source),
        support=Figure(None, "", support[technique], source),
    )


def ratio_figure(value: float, source: str) -> Figure:
    """``10x smaller``, ``1x: no smaller``, ``2x larger``."""
    return Figure(value, "x", _factor(value, "smaller", "larger"), source)


def speed_figure(value: float, source: str) -> Figure:
    """``10x faster``, ``1x: no faster``, ``2x slower``."""
    return Figure(value, "x", _factor(value, "faster", "slower"), source)


def memory_figure(before: float, after: float, source: str) -> Figure:
    """``90 % (70 GB)``: the reduction and the remaining size; ``40 % more (490 GB)`` if it grows."""
    less = 100 * (1 - after / before)
    change = f"{less:.0f} %" if less >= 0 else f"{-less:.0f} % more"
    return Figure(after, "bytes", f"{change} ({byte_size(after)})", source)


def _factor(value: float, better: str, worse: str) -> str:
    if abs(value - 1) < 0.005:
        return f"1x: no {better}"
    return f"{value:.3g}x {better}" if value > 1 else f"{1 / value:.3g}x {worse}"
