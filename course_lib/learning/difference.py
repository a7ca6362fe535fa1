"""The difference of a learner's value from the expected one, as one short phrase, also for large tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.learning.values import describe, is_tensor, loaded

Tolerance = tuple[float | None, float | None] | None
"""``(rtol, atol)``; None asks for equality, ``(None, None)`` for the default closeness."""


def difference(got: Any, expected: Any, tolerance: Tolerance = None) -> str | None:
    """How two plain values differ (``expected …, got …``), or None if they agree.

    Types, here and in what the grader's probes print: a list is as good as a tuple, a tensor without dimensions as a
    number, an ``int`` as a float, and a floating dtype as any other, but for half precision, which has too few digits
    to be compared where they are expected. A float is no ``int``, a boolean no number, and a NumPy array no tensor.
    """
    got, expected = _without_dimensions(got), _without_dimensions(expected)
    if is_tensor(expected):
        return _tensor_difference(got, expected, tolerance)
    if _is_array(expected):
        return _array_difference(got, expected, tolerance)
    if type(expected) in (int, float):
        return _number_difference(got, expected, tolerance)
    if type(expected) in (list, tuple):
        return _sequence_difference(got, expected, tolerance)
    if type(expected) is dict:
        return _mapping_difference(got, expected, tolerance)
    agree = type(got) is type(expected) and (got is expected or got == expected)
    return None if agree else f"expected {describe(expected)}, got {describe(got)}"


def _number_difference(got: Any, expected: float, tolerance: Tolerance) -> str | None:
    if type(got) not in (int, float):
        return f"expected the number {describe(expected)}, got {describe(got)}"
    if type(got) is float and type(expected) is int:
        return f"expected the whole number {describe(expected)}, an int, got {describe(got)}"
    rtol, atol = _tolerances(tolerance, exact=type(expected) is int)
    if got == expected or (math.isnan(got) and math.isnan(expected)):
        return None
    if math.isfinite(got) and math.isfinite(expected) and abs(got - expected) <= atol + rtol * abs(expected):
        return None
    shown = [describe(expected), describe(got)]
    return "expected {}, got {}".format(*(shown if shown[0] != shown[1] else [repr(expected), repr(got)]))


def _sequence_difference(got: Any, expected: Sequence[Any], tolerance: Tolerance) -> str | None:
    if type(got) not in (list, tuple):
        return f"expected a {type(expected).__name__}, got {describe(got)}"
    if len(got) != len(expected):
        return f"expected {len(expected)} entries, got {len(got)}"
    for index, (mine, theirs) in enumerate(zip(expected, got, strict=True)):
        if found := difference(theirs, mine, tolerance):
            return f"at entry {index}: {found}"
    return None


def _mapping_difference(got: Any, expected: Mapping[Any, Any], tolerance: Tolerance) -> str | None:
    if type(got) is not dict:
        return f"expected a dictionary, got {describe(got)}"
    for key in expected:
        if key not in got:
            return f"the key {key!r} is missing"
    for key in got:
        if key not in expected:
            return f"the key {key!r} should not be there"
    for key, mine in expected.items():
        if found := difference(got[key], mine, tolerance):
            return f"under the key {key!r}: {found}"
    return None


def _array_difference(got: Any, expected: Any, tolerance: Tolerance) -> str | None:
    import torch

    if type(got) is not type(expected):
        return f"expected a NumPy array, got {describe(got)}"
    if got.dtype.kind not in "biufc" or got.dtype.byteorder == ">":
        return f"expected numbers of dtype {expected.dtype}, got dtype {got.dtype}"
    return _tensor_difference(torch.as_tensor(got.copy()), torch.as_tensor(expected.copy()), tolerance)


def _tensor_difference(got: Any, expected: Any, tolerance: Tolerance) -> str | None:
    import torch

    if not is_tensor(got):
        return f"expected a tensor of shape {tuple(expected.shape)}, got {describe(got)}"
    if got.layout is not torch.strided or got.is_meta:
        return f"expected a dense tensor, got {describe(got)}"
    if got.shape != expected.shape:
        return f"expected shape {tuple(expected.shape)}, got {tuple(got.shape)}"
    if is_half(got) and expected.is_floating_point() and not is_half(expected):
        return f"expected dtype {expected.dtype}, got {got.dtype}, which has too few digits; compute in float32"
    if not (got.is_floating_point() if expected.is_floating_point() else got.dtype == expected.dtype):
        return f"expected dtype {expected.dtype}, got {got.dtype}"
    rtol, atol = _tolerances(tolerance, exact=not expected.is_floating_point())
    wide = expected.dtype if not expected.is_floating_point() else torch.float64
    mine, theirs = expected.detach().cpu().to(wide), got.detach().cpu().to(wide)
    if tolerance is None or rtol == atol == 0:
        agree = (theirs == mine) | (theirs.isnan() & mine.isnan())
    else:
        agree = torch.isclose(theirs.double(), mine.double(), rtol=rtol, atol=atol, equal_nan=True)
    if agree.all():
        return None
    first = (~agree).nonzero()[0].tolist()
    place, differing = tuple(first), int((~agree).sum())
    values = (
        _number_difference(theirs[place].item(), mine[place].item(), (0.0, 0.0)) if mine.dtype != torch.bool else None
    )
    values = values or f"expected {mine[place].item()}, got {theirs[place].item()}"
    if not first:
        return values
    return f"at index {first}: {values} ({differing:,} of {mine.numel():,} entries differ)"


def _tolerances(tolerance: Tolerance, *, exact: bool) -> tuple[float, float]:
    if tolerance is None:
        return 0.0, 0.0
    rtol, atol = tolerance
    default = (0.0, 0.0) if exact else (1e-4, 1e-6)
    if rtol is None and atol is None:
        return default
    return rtol or 0.0, atol or 0.0


def _without_dimensions(value: Any) -> Any:
    """The number in a tensor without dimensions; any other value as it is."""
    is_number = is_tensor(value) and value.dim() == 0 and not (value.is_meta or value.is_sparse or is_half(value))
    return value.item() if is_number else value


def is_half(tensor: Any) -> bool:
    """Whether a tensor is in half precision (float16 or bfloat16), which holds two or three digits."""
    return str(tensor.dtype) in ("torch.float16", "torch.bfloat16")


def _is_array(value: Any) -> bool:
    numpy = loaded("numpy")
    return numpy is not None and type(value) is numpy.ndarray
