"""Accuracy predictor: ridge regression on the genes of measured subnets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import ArrayLike, NDArray

from course_lib.core.validation import check_positive
from course_lib.search import footprint
from course_lib.search.space import SearchSpace, Subnet

Array = NDArray[numpy.float64]
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class AccuracyPredictor:
    """A linear model of what subnets reach.

    Args:
        space: whose genes are encoded one-hot.
        coefficients: one for each column of ``features``.
        mean: of the measured values.
        penalty: ridge penalty.
        left_out: what was predicted for each measured subnet without it.
    """

    space: SearchSpace
    coefficients: Array
    centre: Array
    mean: float
    penalty: float
    left_out: Array

    def __call__(self, subnets: Sequence[Subnet]) -> Array:
        """Predicted accuracy of each subnet, ``(len(subnets),)``."""
        if not subnets:
            return numpy.zeros(0)
        return (features(self.space, subnets) - self.centre) @ self.coefficients + self.mean


def features(space: SearchSpace, subnets: Sequence[Subnet]) -> Array:
    """The input of the predictor, ``(subnets, columns)``.

    One-hot genes, the genes as numbers in [-1, 1] with their products in pairs, and the logarithms of MACs and
    parameters.
    """
    genes = numpy.array([space.genes(subnet) for subnet in subnets], dtype=float)
    counts = numpy.array([len(choices) for choices in space.choices], dtype=float)
    scaled = 2 * genes / numpy.maximum(counts - 1, 1) - 1
    first, second = numpy.triu_indices(scaled.shape[1], k=1)
    one_hot = numpy.stack([space.one_hot(subnet) for subnet in subnets])
    work = numpy.log([[footprint.macs(subnet), footprint.parameters(subnet)] for subnet in subnets])
    return numpy.concatenate([one_hot, 0.5 * scaled[:, first] * scaled[:, second], work], axis=1)


def fit_predictor(
    space: SearchSpace, subnets: Sequence[Subnet], accuracies: ArrayLike, penalties: Sequence[float] = PENALTIES
) -> AccuracyPredictor:
    """Ridge regression, with the penalty that predicts left-out subnets best.

    Args:
        accuracies: measured, one for each subnet.

    Raises:
        ValueError: if there are fewer than two subnets, not as many accuracies, or one of those is not finite.
    """
    y = numpy.asarray(accuracies, dtype=float)
    if len(subnets) < 2 or y.shape != (len(subnets),) or not numpy.isfinite(y).all():
        raise ValueError(f"accuracies must be one finite number for each of 2 or more subnets, got shape {y.shape}")
    x = features(space, subnets)
    centre, mean = x.mean(axis=0), float(y.mean())
    fits = [(penalty, *ridge(x - centre, y - mean, penalty)) for penalty in penalties]
    penalty, coefficients, left_out = min(fits, key=lambda fit: float(((fit[2] - (y - mean)) ** 2).mean()))
    return AccuracyPredictor(space, coefficients, centre, mean, penalty, left_out + mean)


def ridge(x: Array, y: Array, penalty: float) -> tuple[Array, Array]:
    """Coefficients ``w`` that minimise ``‖x w - y‖² + penalty ‖w‖²``, and the prediction of each row without it.

    With ``H = x (xᵀx + penalty I)⁻¹ xᵀ`` and one further degree of freedom for the mean, row ``i`` left out is
    predicted as ``y_i - (y_i - ŷ_i) / (1 - H_ii - 1/n)``.

    Args:
        x: ``(rows, columns)``, centred.
        y: ``(rows,)``, centred.

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2009 (section 7.10).
    """
    check_positive("penalty", penalty)
    inverse = numpy.linalg.inv(x.T @ x + penalty * numpy.eye(x.shape[1]))
    hat = x @ inverse @ x.T
    coefficients = inverse @ x.T @ y
    residuals = y - hat @ y
    leverage = numpy.minimum(numpy.diag(hat) + 1 / len(y), 0.999)
    return coefficients, y - residuals / (1 - leverage)
