"""Rank correlation, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import ArrayLike, NDArray


def kendall_tau(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's τ-b: how far two lists order the same items alike, from -1 to 1; 0 is no relation.

    Pairs in the same order minus pairs in opposite order, divided by the geometric mean of the numbers of pairs that
    are not tied in the one and in the other list.

    Raises:
        ValueError: if the lengths differ, or there are fewer than two items.

    Source: Kendall, A New Measure of Rank Correlation, 1938; τ-b: Kendall, 1945.
    """
    a, b = numpy.asarray(first, dtype=float), numpy.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"first and second must be two lists of the same length above 1, got {a.shape} and {b.shape}")
    signs_a, signs_b = (numpy.sign(values[:, None] - values[None, :]) for values in (a, b))
    untied = numpy.sqrt(float((signs_a != 0).sum()) * float((signs_b != 0).sum()))
    return float((signs_a * signs_b).sum() / untied) if untied else float("nan")


def kendall_interval(
    first: ArrayLike, second: ArrayLike, draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """τ-b and its 95 % interval, from resampled items (bootstrap).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    a, b = numpy.asarray(first, dtype=float), numpy.asarray(second, dtype=float)
    generator = numpy.random.default_rng(seed)
    resampled = []
    for _ in range(draws):
        rows = generator.integers(len(a), size=len(a))
        resampled.append(kendall_tau(a[rows], b[rows]))
    low, high = numpy.nanquantile(resampled, [0.025, 0.975])
    return kendall_tau(a, b), float(low), float(high)


def pareto_front(costs: Sequence[Sequence[float]]) -> list[int]:
    """Positions of the items that no other one dominates, in their order; lower is better in every column.

    An item dominates another if it is nowhere worse and somewhere better, so equal items do not dominate each other:
    of items that tie in all columns, all are kept or none.

    Args:
        costs: ``(items, objectives)``; give the negative of what should be large.

    Raises:
        ValueError: if the items differ in their number of objectives, or a value is NaN.
    """
    values: NDArray[numpy.float64] = numpy.asarray(costs, dtype=float)
    if values.size == 0:
        return []
    if values.ndim != 2 or numpy.isnan(values).any():
        raise ValueError(f"costs must be (items, objectives) without NaN, got shape {values.shape}")
    no_worse = (values[:, None, :] <= values[None, :, :]).all(axis=2)
    better = (values[:, None, :] < values[None, :, :]).any(axis=2)
    dominated = (no_worse & better).any(axis=0)
    return [int(i) for i in numpy.flatnonzero(~dominated)]
