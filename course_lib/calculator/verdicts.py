"""Verdicts in words on claims, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from course_lib.calculator.estimates import Estimate, estimate
from course_lib.calculator.hardware import HARDWARE
from course_lib.calculator.outcomes import Outcome
from course_lib.core.formatting import byte_size
from course_lib.core.validation import check_choice

KINDS = ("holds", "under conditions", "does not hold", "not measured")
REACHED = 0.95  # share of a claim from which on it counts as reached
BATCH_SIZES = (1, 32, 1024)

SIZE_REASONS = {
    "pruning": "where the kept weights belong costs bytes too",
    "quantization": "scales and zero-points cost bytes too",
    "distillation": "a student is dense, without any overhead",
    "low_rank": "two factors are smaller only below half the rank",
}
SPEED_REASONS = {
    "pruning": "zeros still cost a multiplication",
    "quantization": "the arithmetic is no faster",
    "distillation": "the student does not do less per weight",
    "low_rank": "two factors are smaller only below half the rank",
}


@dataclass(frozen=True)
class Verdict:
    """A verdict: ``kind`` is one of ``KINDS``, ``reason`` a few words."""

    kind: str
    reason: str = ""

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}" if self.reason else self.kind


def judged(found: float, claimed: float) -> str:
    """``"holds"`` if ``found`` reaches 95 % of ``claimed``, else ``"does not hold"``."""
    return "holds" if _reached(found, claimed) else "does not hold"


def verdicts(result: Estimate, measured: Outcome | None = None) -> dict[str, Verdict]:
    """Name of each claim (``ratio``, ``speedup``, ``quality``, ``memory``) → its verdict.

    Measured figures take precedence over estimates.
    """
    size = _size(result, measured)
    left, claimed = (byte_size(outcome.memory.value or 0.0) for outcome in (result.honest, result.claim))
    return {
        "ratio": size,
        "memory": Verdict(size.kind, f"{left} where {claimed} was said"),
        "speedup": _speed(result, measured),
        "quality": _quality(result, measured),
    }


def _size(result: Estimate, measured: Outcome | None) -> Verdict:
    claim = result.claim.ratio.value
    if _reached((measured or result.honest).ratio.value, claim):
        return Verdict("holds", "overhead included")
    against_fp32 = _with_settings(result, baseline_dtype="fp32").honest.ratio.value
    if result.baseline_dtype != "fp32" and _reached(against_fp32, claim):
        return Verdict("under conditions", "only against fp32, and this model is fp16")
    return Verdict("does not hold", SIZE_REASONS[result.technique])


def _speed(result: Estimate, measured: Outcome | None) -> Verdict:
    claim = result.claim.speedup.value
    if measured is not None and measured.speedup.value is not None:
        found = f"{measured.speedup.text}, measured"
        if _reached(measured.speedup.value, claim):
            return Verdict("holds", found)
        return Verdict("does not hold", f"{found}; {SPEED_REASONS[result.technique]}")
    if _reached(result.honest.speedup.value, claim):
        return Verdict("holds", "by the roofline, at best")
    if _reached(result.sparse_speedup.value, claim):
        return Verdict("under conditions", "only with kernels that skip zeros")
    for other in _other_settings(result):
        if _reached(other.honest.speedup.value, claim):
            where = f"{other.hardware.name}, batch {other.batch_size}, {other.baseline_dtype}"
            return Verdict("under conditions", f"not here; it would on: {where}")
    return Verdict("does not hold", SPEED_REASONS[result.technique])


def _quality(result: Estimate, measured: Outcome | None) -> Verdict:
    if measured is None or measured.quality.value is None:
        return Verdict("not measured", "it depends on the model and the tuning")
    kind = "holds" if _reached(measured.quality.value, result.claim.quality.value) else "does not hold"
    return Verdict(kind, f"{measured.quality.text} of the accuracy is retained")


def _other_settings(result: Estimate) -> Iterator[Estimate]:
    for machine, batch, dtype in product(HARDWARE, BATCH_SIZES, ("fp32", "fp16")):
        yield _with_settings(result, hardware=machine, batch_size=batch, baseline_dtype=dtype)


def _with_settings(result: Estimate, **changes: object) -> Estimate:
    settings: dict[str, object] = {"hardware": "cpu_laptop", "baseline_dtype": "fp32", "batch_size": 1, **changes}
    return estimate(result.technique, result.parameters, result.strength, **settings)  # type: ignore[arg-type]


def _reached(value: float | None, claim: float | None) -> bool:
    return value is not None and claim is not None and value >= REACHED * claim
