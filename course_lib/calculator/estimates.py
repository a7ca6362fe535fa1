"""``estimate``: the page's claim beside an estimate from stored bytes and the roofline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from course_lib.calculator.formulas import VALUE_BYTES, dense_seconds, seconds, sparse_seconds, stored_bytes
from course_lib.calculator.hardware import Hardware, find
from course_lib.calculator.outcomes import Figure, Outcome, claimed, honest, speed_figure
from course_lib.calculator.page import TECHNIQUES, check_strength
from course_lib.core.formatting import duration
from course_lib.core.validation import check_choice


@dataclass(frozen=True)
class Estimate:
    """The page's claim beside the estimate.

    Args:
        claim: by the page's arithmetic.
        honest: from stored bytes with all overhead, and from the roofline with dense kernels, which every runtime has.
        sparse_speedup: with kernels that skip zeros; for other techniques than pruning it is ``honest.speedup``.
        stored: format → stored bytes; the smallest is ``honest.memory``.
        before, after: time of one pass over the model, in ms.
        bound: ``"memory"`` or ``"compute"``, the limit of the uncompressed model.
        fits_before, fits: whether the model fits into the memory of the machine.
    """

    technique: str
    parameters: float
    strength: float
    hardware: Hardware
    baseline_dtype: str
    batch_size: int
    claim: Outcome
    honest: Outcome
    sparse_speedup: Figure
    stored: Mapping[str, float]
    before: Figure
    after: Figure
    bound: str
    fits_before: bool
    fits: bool

    @property
    def baseline_bytes(self) -> int:
        """Bytes per value before compression."""
        return VALUE_BYTES[self.baseline_dtype]

    @property
    def trade_off(self) -> str:
        """Gain and cost of the technique, in one line."""
        return TECHNIQUES[self.technique].trade_off


def estimate(
    technique: str,
    parameters: float = 175e9,
    strength: float | None = None,
    hardware: str = "cpu_laptop",
    baseline_dtype: str = "fp32",
    batch_size: int = 1,
) -> Estimate:
    """Size and speed of a compressed model, by the page's arithmetic and by stored bytes and roofline.

    Args:
        technique: a key of ``TECHNIQUES``.
        parameters: of the model before compression.
        strength: sparsity in [0, 1), whole bits from 1 to 16, student size in (0, 1], or rank in (0, 1] as a fraction
            of the full rank of square matrices; the technique's default when not given.
        hardware: a key of ``HARDWARE``, or ``"this_machine"``.
        baseline_dtype: ``"fp32"`` or ``"fp16"``.
        batch_size: examples (or tokens) per pass over the weights.

    Raises:
        ValueError: if an argument is outside its range.
    """
    check_choice("technique", technique, tuple(TECHNIQUES))
    b = VALUE_BYTES[check_choice("baseline_dtype", baseline_dtype, tuple(VALUE_BYTES))]
    s = check_strength(technique, TECHNIQUES[technique].default if strength is None else strength)
    n, B = _check_count("parameters", parameters), round(_check_count("batch_size", batch_size))
    machine, stored = find(hardware), stored_bytes(technique, n, s, b)
    smallest = min(stored.values())
    before = seconds(n * b, 2 * n * B, machine, baseline_dtype)
    after = dense_seconds(technique, n, s, B, machine, baseline_dtype)
    sparse = sparse_seconds(n, s, B, machine, baseline_dtype) if technique == "pruning" else after
    return Estimate(
        technique, n, s, machine, baseline_dtype, B,
        claim=claimed(technique, n, s),
        honest=honest(technique, n, s, n * b, smallest, before / after),
        sparse_speedup=speed_figure(before / sparse, "estimate"),
        stored=stored,
        before=_milliseconds(before),
        after=_milliseconds(after),
        bound="compute" if before > seconds(n * b, 0, machine, baseline_dtype) else "memory",
        fits_before=n * b <= machine.memory * 1e9,
        fits=smallest <= machine.memory * 1e9,
    )  # fmt: skip


def _milliseconds(seconds: float) -> Figure:
    return Figure(1000 * seconds, "ms", duration(1000 * seconds), "estimate")


def _check_count(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 1):
        raise ValueError(f"{name} must be a finite number of at least 1, got {value}")
    return float(value)
