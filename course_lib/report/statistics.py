"""How sure a measured ratio of accuracies is."""

from __future__ import annotations

import numpy
from torch import Tensor

from course_lib.arguments import check_positive


def paired_bootstrap(
    correct_before: Tensor, correct_after: Tensor, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of ``accuracy after / accuracy before``, both measured on the same examples.

    Whole examples are redrawn, so that what both models find hard cancels out. An example is one of four kinds (right
    before and after, only before, only after, neither), hence a redraw of N examples is one multinomial draw.

    Args:
        correct_before: boolean ``(N,)``.
        correct_after: boolean ``(N,)``, in the same order.
        draws: number of redraws.

    Returns:
        The 2.5 % and 97.5 % quantiles; ``nan`` twice if the model before answered nothing right.

    Raises:
        ValueError: if the lengths differ or are zero.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    check_positive("draws", draws)
    if correct_before.shape != correct_after.shape or correct_before.numel() == 0:
        shapes = f"{tuple(correct_before.shape)} and {tuple(correct_after.shape)}"
        raise ValueError(f"correct_before and correct_after must have the same length above 0, got {shapes}")
    before, after = correct_before.bool(), correct_after.bool()
    kinds = [before & after, before & ~after, ~before & after, ~before & ~after]
    n = before.numel()
    counts = numpy.random.default_rng(seed).multinomial(n, [int(kind.sum()) / n for kind in kinds], size=draws)
    both, only_before, only_after, _ = counts.T
    right_before = both + only_before
    usable = right_before > 0
    if not usable.any():
        return float("nan"), float("nan")
    low, high = numpy.quantile((both + only_after)[usable] / right_before[usable], [0.025, 0.975])
    return float(low), float(high)
