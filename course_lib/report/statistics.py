"""Confidence interval of a ratio of accuracies."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor

from course_lib.core.validation import check_positive


def paired_bootstrap(
    correct_before: Tensor, correct_after: Tensor, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of ``accuracy after / accuracy before``, both measured on the same examples.

    Examples are resampled in pairs, so that examples that are hard for both models cancel out. With several training
    seeds, an example is resampled with the answers of all seeds (three seeds on N examples are not 3 N examples), and
    the seeds are resampled as well.

    Args:
        correct_before: boolean ``(N,)``, or ``(seeds, N)``.
        correct_after: likewise, in the same order; ``(seeds, N)`` may be compared with ``(N,)``.
        draws: number of bootstrap samples.

    Returns:
        The 2.5 % and 97.5 % quantiles; ``nan`` twice if no answer before is right.

    Raises:
        ValueError: if the lengths differ or are zero, or the numbers of seeds do not match.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; for examples and seeds together: Owen, The
    pigeonhole bootstrap, 2007.
    """
    check_positive("draws", draws)
    before, after = torch.atleast_2d(correct_before), torch.atleast_2d(correct_after)
    if before.shape[1] != after.shape[1] or before.numel() == 0 or len(before) not in (1, len(after)):
        shapes = f"{tuple(correct_before.shape)} and {tuple(correct_after.shape)}"
        raise ValueError(
            f"correct_before and correct_after must have the same length above 0, and as many seeds, got {shapes}"
        )
    generator = numpy.random.default_rng(seed)
    right_before, right_after = _right_answers(before.bool(), after.bool(), draws, generator)
    if len(after) > 1:
        chosen = generator.integers(len(after), size=(draws, len(after)))
        right_after = numpy.take_along_axis(right_after, chosen, axis=1)
        if len(before) > 1:
            right_before = numpy.take_along_axis(right_before, chosen, axis=1)
    mean_before, mean_after = right_before.mean(axis=1), right_after.mean(axis=1)
    usable = mean_before > 0
    if not usable.any():
        return float("nan"), float("nan")
    low, high = numpy.quantile(mean_after[usable] / mean_before[usable], [0.025, 0.975])
    return float(low), float(high)


def _right_answers(
    before: Tensor, after: Tensor, draws: int, generator: numpy.random.Generator
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Number of right answers in each resample of N examples, ``(draws, seeds)`` before and after.

    Examples on which the same models are right are of one kind, so that a resample is one multinomial draw of kinds.
    """
    kinds, counts = torch.unique(torch.cat([before, after]).byte(), dim=1, return_counts=True)
    kinds, counts = kinds.flip(1).numpy().astype(int), counts.flip(0).numpy()
    right = generator.multinomial(counts.sum(), counts / counts.sum(), size=draws) @ kinds.T
    return right[:, : len(before)], right[:, len(before) :]
