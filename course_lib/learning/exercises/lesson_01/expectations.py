"""What the checks of exercise 01 expect of sizes and plans, and what the usual mistakes look like."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from course_lib.learning.exercises.lesson_01 import reference
from course_lib.learning.exercises.lesson_01.playground import GROUP_SIZE, PLANS, relative_error
from course_lib.learning.expect import as_float, as_whole, expect, expect_parts, likely_mistake
from course_lib.learning.values import describe


def encoded_bytes(rows: int, columns: int, nonzeros: int, value_bytes: int) -> dict[str, int]:
    """Bytes of one sparse matrix in each encoding."""
    return {
        "dense": rows * columns * value_bytes,
        "bitmask": math.ceil(rows * columns / 8) + nonzeros * value_bytes,
        "csr": nonzeros * (value_bytes + 4) + (rows + 1) * 4,
    }


def size_hint(sizes: dict[str, int], given: Any) -> str:
    """The encoding whose size was returned, or all three sizes."""
    mistakes = {
        f"you returned the size of {name}, which is not the smallest here": size for name, size in sizes.items()
    }
    listed = ", ".join(f"{size} ({name})" for name, size in sizes.items())
    return likely_mistake(given, mistakes, f"the three sizes should be {listed}")


def pass_hint(parameters: float, bits: float, batch: int, bandwidth: float, peak: float, given: Any) -> str:
    """What led to these seconds of one pass."""
    reading, calculating = parameters * bits / 8e9 / bandwidth, 2 * parameters * batch / 1e9 / peak
    faster = "that is the shorter time; the longer one decides. Does the calculation cover every input of the batch?"
    mistakes = {
        "you added the two times; reading and calculating overlap": reading + calculating,
        faster: min(reading, calculating),
        "that looks like one operation for each weight; a multiply-accumulate is two": calculating / 2,
        "that looks like bits divided by the bandwidth, which is in bytes": reading * 8,
        "that looks like weights read once per input; one reading serves the whole batch": reading * batch,
    }
    return likely_mistake(given, mistakes, "compute bytes over bandwidth and operations over peak, then compare them")


def plan_gigabytes(plan: tuple[float, int], parameters: float = 175e9) -> float:
    """Gigabytes of a model under a plan: mask, values, and one 16-bit scale for each group of 128 values."""
    sparsity, bits = plan
    value_bits = bits + (16 / GROUP_SIZE if bits < 16 else 0)
    return parameters * ((1 if sparsity > 0 else 0) + (1 - sparsity) * value_bits) / 8e9


def as_plan(given: Any) -> tuple[float, int]:
    """A learner's plan as a pair of numbers; the sparsity of a float32 tensor is rounded to that of ``PLANS``."""
    sparsity, bits = expect_parts(given, 2, "sparsity and bits")
    return round(as_float(sparsity), 6), as_whole(bits)


def expect_plan(where: str, given: Any, weight: Tensor, budget_gb: float, parameters: float = 175e9) -> None:
    """A plan that fits the budget, with the smallest error, and of equal errors the smallest size."""
    known = type(given) in (list, tuple) and len(given) == 2 and as_plan(given) in PLANS
    expect(known, f"expected one of PLANS, a pair (sparsity, bits), got {describe(given)}", given=where)
    given = as_plan(given)
    best = reference.best_plan(weight, budget_gb, parameters)
    assert best is not None, "the check asks only for budgets that some plan fits"
    size, smallest = plan_gigabytes(given, parameters), plan_gigabytes(best, parameters)
    expect(size <= budget_gb, f"{given} needs {size:.2f} GB", given=where, hint="was every bit of a weight counted?")
    reached, possible = relative_error(weight, *given), relative_error(weight, *best)
    advice = "try all 30 plans, and count a mask or scales only for plans that have them"
    lost = f"{given} has an error of {reached:.2g}; another plan that fits has {possible:.2g}"
    expect(reached <= possible, lost, given=where, hint=advice)
    expect(size <= smallest, f"{given} is not the smallest of the plans with this error", given=where)
