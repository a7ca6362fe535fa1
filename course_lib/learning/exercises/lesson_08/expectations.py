"""What the checks of exercise 08 expect of GPTQ, AWQ, bytes and SmoothQuant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.learning.answer import Answer
from course_lib.learning.exercises.lesson_08 import reference
from course_lib.learning.expect import (
    CheckFailed,
    expect,
    expect_close,
    expect_equal,
    expect_parts,
    expect_tensor,
    likely_mistake,
)
from course_lib.learning.values import describe_any


def expect_step(
    got: Any, weight: Tensor, factor: Tensor, column: int, scale: Tensor, zero_point: Tensor, bits: int
) -> None:
    """One column rounded, and its error moved to the later columns."""
    expect_tensor("the result", got, shape=weight.shape, hint="return the whole weight, not only one column")
    expected = reference.gptq_step(weight, factor, column, scale, zero_point, bits)
    given = f"a {weight.shape[0]} × {weight.shape[1]} weight, column {column}, {bits} bits"
    expect_equal(
        "columns before", got[:, :column], weight[:, :column], given=given, hint="the columns before are finished"
    )
    advice = "(code - zero_point) * scale, with code = round(w / scale) + zero_point, clamped to 0 … 2**bits - 1"
    expect_close("the rounded column", got[:, column], expected[:, column], given=given, hint=advice)
    later = slice(column + 1, None)
    expect_close("later columns", got[:, later], expected[:, later], given=given, rtol=1e-3, atol=1e-5,
                 hint=_step_hint(got[:, later], weight, factor, column, expected))  # fmt: skip


def _step_hint(got: Tensor, weight: Tensor, factor: Tensor, column: int, expected: Tensor) -> str:
    later = slice(column + 1, None)
    before, move = weight[:, later], expected[:, later] - weight[:, later]
    mistakes = {
        "the later columns have not changed; they compensate for the error": before,
        "the sign is wrong: the error must be compensated, not doubled": before - move,
        "divide the error by the factor's entry on the diagonal": before + move * factor[column, column],
    }
    return likely_mistake(
        got, mistakes, "w_k -= e * U_jk with e = (w_j - q_j) / U_jj: row j of the factor, later columns only", atol=1e-5
    )


def expect_factor(answer: Answer, rows: Tensor, damping: float) -> None:
    """The upper Cholesky factor of the inverse of the damped Hessian, which is positive definite."""
    try:
        got = answer(rows, damping)
    except CheckFailed as failure:
        if "ValueError" in failure.problem:
            failure.hint = "this H is positive definite, but single precision cannot see it: compute in float64"
        raise
    width, given = rows.shape[1], f"inputs of shape {tuple(rows.shape)} and damping {damping}"
    expect_tensor("the factor", got, shape=(width, width), hint="one row and one column for each input")
    lower = got.tril(-1).abs().sum().item() if width > 1 else 0.0
    advice = "torch.linalg.cholesky returns the lower triangle unless `upper=True`"
    if torch.allclose(got, got.T):
        advice = "this matrix is symmetric, like the inverse of H itself; its upper Cholesky factor is asked"
    expect(lower < 1e-9, "everything below the diagonal of the factor should be 0", given=given, hint=advice)
    expected = reference.inverse_factor(rows, damping)
    advice = "H = XᵀX + damping · mean(diag XᵀX) · I, then UᵀU = H⁻¹"
    if got.dtype == torch.float32 and (got.double() - expected).abs().max() < 0.1 * expected.abs().max():
        advice = "compute in float64: in single precision the inverse of this matrix is only roughly right"
    expect_close("the factor", got.double(), expected, given=given, rtol=1e-3, atol=1e-8, hint=advice)


def expect_search(got: Any, weight: Tensor, rows: Tensor, bits: int, alphas: list[float]) -> None:
    """The best exponent and the output error of each."""
    got = expect_parts(got, 2, "the best alpha and the list of errors")
    alpha, errors = reference.search_alpha(weight, rows, bits, alphas)
    given = f"a {tuple(weight.shape)} weight, {bits} bits and the exponents {alphas}"
    listed = isinstance(got[1], list | tuple | Tensor)
    expect(
        listed,
        f"the errors should be a list, yours is {describe_any(got[1])}",
        hint="all errors, one for each exponent",
    )
    plain = [float(error) for error in got[1]]
    expect_equal("number of errors", len(plain), len(alphas), given=given, hint="one for each exponent, in order")
    advice = "mean over the rows of the squared change of the output; scale up by mean|x| ** alpha, round, scale down"
    expect_close("errors", plain, errors, given=given, rtol=1e-3, atol=1e-7, hint=advice)
    expect_close("the best alpha", got[0], alpha, given=given, hint="the exponent itself; of equal errors the first")


def expect_bytes(got: Any, shape: tuple[int, int], bits: int, group_size: int | None, symmetric: bool) -> None:
    """Bytes of codes, scales and zero-points, and bits per weight."""
    expected = reference.file_bytes(shape, bits, group_size, symmetric)
    keys = got.keys() if isinstance(got, dict) else None
    expect(keys == expected.keys(), f"return a dictionary with the keys {', '.join(expected)}; got {describe_any(got)}")
    grid = "symmetric" if symmetric else "asymmetric"
    given = f"a {shape[0]} × {shape[1]} weight, {bits} bits, group_size {group_size}, {grid}"
    hints = {
        "codes": "bits for every weight, rounded up to whole bytes at the end",
        "scales": "two bytes for every group; without a group size a row is one group",
        "zero_points": "none where symmetric; else `bits` bits for every group, rounded up to whole bytes at the end",
        "bits_per_weight": "all bytes together, times 8, divided by the number of weights",
    }
    for key, advice in hints.items():
        expect_close(key, got[key], expected[key], given=given, hint=advice)


def expect_smooth(got: Any, weight: Tensor, rows: Tensor, gain: Tensor, shift: Tensor, alpha: float) -> None:
    """Weight, gain and shift, with the same output."""
    got = expect_parts(got, 3, "weight, gain and shift")
    for name, part in zip(("weight", "gain", "shift"), got, strict=True):
        expect_tensor(name, part)
    given = f"alpha = {alpha}"
    normed = torch.linspace(-1, 1, 2 * len(gain)).view(2, len(gain))
    expected = reference.smooth(weight, rows, gain, shift, alpha)
    advice = "factors are max|x| ** alpha / max|w| ** (1 - alpha), one per input channel"
    expect_close("weight", got[0], expected[0], given=given, rtol=1e-3, atol=1e-5, hint=advice)
    before = (gain * normed + shift) @ weight.T
    after = (got[1] * normed + got[2]) @ got[0].T
    advice = "divide gain and shift by the factors that multiply the weights"
    expect_close("output of norm and layer together", after, before, given=given, rtol=1e-3, atol=1e-4, hint=advice)
    for name, found, right in zip(("weight", "gain", "shift"), got, expected, strict=True):
        expect_close(name, found, right, given=given, rtol=1e-3, atol=1e-5, hint=advice)
